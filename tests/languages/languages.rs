//! What functions in these languages keep in the server's process is not seen by others.

use crate::census::{Census, LIBRARY};
use crate::pooling::library::{
    Case, goes_with_its_client, is_not_given_on_in_session_mode, is_not_seen_and_found_again,
};
use crate::support::Postgres;

const CASES: &[Case] = &[
    Case {
        needs: "plperl",
        objects: "create extension plperl;
                  create function remember(text) returns text language plperl as '$_SHARED{a} = $_[0]';
                  create function remembered() returns text language plperl as 'return $_SHARED{a}'",
        leaves: "select remember('x')",
        question: "select remembered()",
    },
    Case {
        needs: "plperl",
        objects: "create extension plperl;
                  create function remembered() returns text language plperl as 'return $_SHARED{a}'",
        leaves: "do language plperl $$ $_SHARED{a} = 'x' $$",
        question: "select remembered()",
    },
    Case {
        needs: "plpython3u",
        objects: "create extension plpython3u;
                  create function remember(a text) returns text language plpython3u as $$ GD['a'] = a $$;
                  create function remembered() returns text language plpython3u as $$ return GD.get('a') $$",
        leaves: "select remember('x')",
        question: "select remembered()",
    },
    Case {
        needs: "pltcl",
        objects: "create extension pltcl;
                  create function remember(text) returns text language pltcl as 'global a; set a $1';
                  create function remembered() returns text language pltcl as
                  'global a; if {[info exists a]} { return $a }; return_null'",
        leaves: "select remember('x')",
        question: "select remembered()",
    },
];

#[tokio::test]
async fn what_they_keep_is_not_seen_by_the_next_and_found_again() {
    is_not_seen_and_found_again(CASES).await;
}

#[tokio::test]
async fn what_they_keep_goes_with_its_client_in_passthrough_too() {
    goes_with_its_client(CASES).await;
}

#[tokio::test]
async fn a_pool_in_session_mode_does_not_give_on_a_connection_on_which_they_ran() {
    is_not_given_on_in_session_mode(CASES).await;
}

#[tokio::test]
async fn languages_that_have_variables_of_their_own_keep_state() {
    let postgres = Postgres::shared().await;
    for language in ["plperl", "plpython3u", "pltcl"] {
        postgres.has_extensions(&[language]).await;
        let objects = format!(
            "create extension {language}; create function code(int) returns int language {language} as 'return 1';
             create view of_code as select code(1);"
        );
        let census = Census::on(postgres, &objects).await;
        census.says(&[("code", LIBRARY), ("of_code", LIBRARY)]);
    }
}
