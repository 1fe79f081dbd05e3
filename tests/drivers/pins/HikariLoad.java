// JDBC with HikariCP: its pool, transactions by setAutoCommit, server-prepared
// statements from the fifth execution on.
import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

final class HikariLoad {
    private static final int WARM_UP = 3;
    private static final int ACCOUNTS = 1000;

    private HikariLoad() {}

    public static void main(String[] args) throws Exception {
        int clients = Integer.parseInt(env("CLIENTS"));
        long nanos = (long) (Double.parseDouble(env("SECONDS")) * 1e9);
        AtomicInteger rounds = new AtomicInteger();
        AtomicInteger errors = new AtomicInteger();
        AtomicReference<String> first = new AtomicReference<>();
        CyclicBarrier barrier = new CyclicBarrier(clients);
        try (HikariDataSource source = source(clients)) {
            // It opens one after the other, and hands out what there is meanwhile.
            while (source.getHikariPoolMXBean().getTotalConnections() < clients) {
                Thread.sleep(20);
            }
            List<Thread> threads = new ArrayList<>();
            for (int i = 0; i < clients; i++) {
                Thread thread = new Thread(() -> {
                    try {
                        for (int n = 0; n < WARM_UP; n++) {
                            round(source);
                        }
                        barrier.await(60, TimeUnit.SECONDS);
                        long end = System.nanoTime() + nanos;
                        while (System.nanoTime() < end) {
                            round(source);
                            rounds.incrementAndGet();
                        }
                    } catch (Exception e) {
                        errors.incrementAndGet();
                        StringWriter text = new StringWriter();
                        e.printStackTrace(new PrintWriter(text));
                        first.compareAndSet(null, text.toString());
                        barrier.reset();
                    }
                });
                thread.start();
                threads.add(thread);
            }
            for (Thread thread : threads) {
                thread.join();
            }
            String why = first.get() == null ? "null" : '"' + escaped(first.get()) + '"';
            System.out.printf("{\"rounds\": %d, \"errors\": %d, \"first\": %s}%n", rounds.get(), errors.get(), why);
        }
    }

    private static HikariDataSource source(int clients) throws SQLException {
        HikariConfig config = new HikariConfig();
        String plain = System.getenv("PLAIN") == null ? "" : "&prepareThreshold=0";
        config.setJdbcUrl("jdbc:postgresql://" + env("PGHOST") + ":" + env("PGPORT") + "/" + env("PGDATABASE")
                + "?ApplicationName=orders" + plain);
        config.setUsername(env("PGUSER"));
        config.setPassword(env("PGPASSWORD"));
        config.setMaximumPoolSize(clients);
        config.setMinimumIdle(clients);
        config.setConnectionTimeout(60_000);
        config.setTransactionIsolation("TRANSACTION_READ_COMMITTED");
        config.setConnectionInitSql("SET statement_timeout = '60s'");
        HikariDataSource made = new HikariDataSource(config);
        made.getConnection().close();
        return made;
    }

    private static void round(HikariDataSource source) throws SQLException {
        int mine = account();
        try (Connection connection = source.getConnection()) {
            read(connection, mine);
            read(connection, account());
        }
        try (Connection connection = source.getConnection()) {
            connection.setAutoCommit(false);
            try (PreparedStatement insert = connection.prepareStatement(
                    "INSERT INTO entry (account, amount, note) VALUES (?, ?, ?)", new String[] {"id"})) {
                insert.setInt(1, mine);
                insert.setBigDecimal(2, BigDecimal.valueOf(2));
                insert.setString(3, "note");
                insert.executeUpdate();
                try (ResultSet keys = insert.getGeneratedKeys()) {
                    need(keys.next() && keys.getInt(1) > 0, "no key");
                }
            }
            try (PreparedStatement update =
                    connection.prepareStatement("UPDATE account SET balance = balance + ? WHERE id = ?")) {
                update.setBigDecimal(1, BigDecimal.valueOf(2));
                update.setInt(2, mine);
                need(update.executeUpdate() == 1, "no row updated");
            }
            try (PreparedStatement work = connection.prepareStatement("SELECT pg_sleep(?)")) {
                work.setDouble(1, Double.parseDouble(env("STATEMENT_SECONDS")));
                work.execute();
            }
            connection.commit();
            connection.setAutoCommit(true);
        }
        try (Connection connection = source.getConnection();
                PreparedStatement sum =
                        connection.prepareStatement("SELECT count(*), max(at) FROM entry WHERE account = ?")) {
            sum.setInt(1, mine);
            try (ResultSet row = sum.executeQuery()) {
                need(row.next() && row.getLong(1) > 0, "the row is lost");
            }
        }
    }

    private static void read(Connection connection, int id) throws SQLException {
        try (PreparedStatement read =
                connection.prepareStatement("SELECT owner, balance, tags, state FROM account WHERE id = ?")) {
            read.setInt(1, id);
            try (ResultSet row = read.executeQuery()) {
                need(row.next() && row.getString(1).equals("owner " + id), "the wrong row");
            }
        }
    }

    private static int account() {
        return ThreadLocalRandom.current().nextInt(ACCOUNTS) + 1;
    }

    private static void need(boolean condition, String what) {
        if (!condition) {
            throw new IllegalStateException(what);
        }
    }

    private static String escaped(String text) {
        return text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n").replace("\t", " ");
    }

    private static String env(String name) {
        return System.getenv(name);
    }
}
