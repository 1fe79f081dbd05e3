//! What only newer servers have in their catalogs.

use crate::census::{Census, NOTHING};
use crate::servers::postgres_18;

#[tokio::test]
async fn a_virtual_column_is_evaluated_where_it_is_read() {
    let objects = "create table plain (a int, b int generated always as (a + 1) virtual);";
    let census = Census::on(postgres_18().await, objects).await;
    census.says(&[("plain", NOTHING)]);
}
