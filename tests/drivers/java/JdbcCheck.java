// JDBC (pgjdbc): extended query protocol, server-side prepare from the fifth use.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import java.util.Random;
import java.util.Timer;
import java.util.TimerTask;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.PGStatement;
import org.postgresql.util.PSQLException;

public final class JdbcCheck {
    // A case that gets no answer must be reported by name, not hang the run.
    static final int CASE_MS = 30_000;
    static final int CANCEL_MS = 5_000;
    static final int BIG = 64 * 1024 * 1024;

    static final String USER = setting("PGUSER");
    // What refuses a wrong password: the server, or a proxy that says who it is.
    static final String REFUSAL = Objects.requireNonNullElse(System.getenv("REFUSED_BY"), "")
            + "password authentication failed for user \"" + USER + "\"";
    static final String PASSWORD = setting("PGPASSWORD");
    static final String DATABASE = setting("PGDATABASE");
    static final String URL = "jdbc:postgresql://" + setting("PGHOST") + ":" + setting("PGPORT") + "/" + DATABASE;

    // Distinct names let programs run in parallel against one database.
    static final String SUFFIX = ProcessHandle.current().pid() + "_" + Integer.toHexString(new Random().nextInt());

    static final class Failed extends Exception {
        private static final long serialVersionUID = 1L;

        Failed(String why) {
            super(why);
        }
    }

    interface Case {
        void run() throws Exception;
    }

    static String setting(String name) {
        return Objects.requireNonNull(System.getenv(name), name + " is not set");
    }

    static String name(String prefix) {
        return prefix + "_" + SUFFIX;
    }

    static void equal(Object got, Object want, String what) throws Failed {
        if (!Objects.equals(got, want)) {
            throw new Failed(what + ": got " + got + ", want " + want);
        }
    }

    static void within(int ms, long started, String what) throws Failed {
        long took = (System.nanoTime() - started) / 1_000_000;
        if (took > ms) {
            throw new Failed(what + " took " + took + " ms, allowed are " + ms + " ms");
        }
    }

    static PSQLException fails(String sqlState, Case call) throws Exception {
        try {
            call.run();
        } catch (PSQLException e) {
            if (!sqlState.equals(e.getSQLState())) {
                throw e;
            }
            return e;
        }
        throw new Failed("no error, want SQLSTATE " + sqlState);
    }

    static Connection open(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", USER);
        properties.setProperty("password", PASSWORD);
        for (int i = 0; i < options.length; i += 2) {
            properties.setProperty(options[i], options[i + 1]);
        }
        return DriverManager.getConnection(URL, properties);
    }

    static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    /** All rows, as text, of a query with parameters. */
    static List<List<String>> rows(Connection connection, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                statement.setObject(i + 1, values[i]);
            }
            List<List<String>> all = new ArrayList<>();
            try (ResultSet result = statement.executeQuery()) {
                while (result.next()) {
                    List<String> row = new ArrayList<>();
                    for (int c = 1; c <= result.getMetaData().getColumnCount(); c++) {
                        row.add(result.getString(c));
                    }
                    all.add(row);
                }
            }
            return all;
        }
    }

    static List<List<String>> row(String... values) {
        return List.of(Arrays.asList(values));
    }

    static String sha256(byte[] data) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));
    }

    static void connect() throws Exception {
        try (Connection connection = open("ApplicationName", name("jdbc"))) {
            equal(rows(connection, "SELECT current_user::text, current_database()::text, ?::int4 + 1", 1),
                row(USER, DATABASE, "2"), "row");
            equal(rows(connection, "SHOW application_name"), row(name("jdbc")), "application_name");
            equal(connection.unwrap(PGConnection.class).getParameterStatus("application_name"), name("jdbc"),
                "ParameterStatus");
            equal(rows(connection, "SELECT pg_backend_pid()"),
                row(Integer.toString(connection.unwrap(PGConnection.class).getBackendPID())), "process id");
            equal(rows(connection, "SELECT ?::text", "naïve → 数据 🐘"), row("naïve → 数据 🐘"), "text");
            equal(connection.isValid(5), true, "isValid");
        }
    }

    static void wrongPassword() throws Exception {
        PSQLException error = fails("28P01", () -> open("password", PASSWORD + "x").close());
        equal(error.getServerErrorMessage().getMessage(), REFUSAL, "message");
    }

    static void preparedStatements() throws Exception {
        String sql = "SELECT $1::int4 * 2, $2::text";
        for (String threshold : new String[] {"5", "1", "-1"}) {
            // Below zero the driver also asks for binary results from the first use.
            try (Connection connection = open("prepareThreshold", threshold);
                PreparedStatement statement = connection.prepareStatement("SELECT ?::int4 * 2, ?::text")) {
                for (int i = 0; i < 20; i++) {
                    statement.setInt(1, i);
                    statement.setString(2, "row " + i);
                    try (ResultSet result = statement.executeQuery()) {
                        equal(result.next(), true, "has a row");
                        equal(result.getInt(1), 2 * i, "first column");
                        equal(result.getString(2), "row " + i, "second column");
                        equal(result.next(), false, "has another row");
                    }
                }
                equal(statement.unwrap(PGStatement.class).isUseServerPrepare(), true, "named at threshold " + threshold);
                equal(rows(connection, "SELECT count(*) FROM pg_prepared_statements WHERE statement = ?", sql),
                    row("1"), "named statements at the server");
            }
        }
        // Statements that fall out of the cache are closed at the server.
        try (Connection connection = open("prepareThreshold", "1", "preparedStatementCacheQueries", "4")) {
            for (int i = 0; i < 50; i++) {
                equal(rows(connection, "SELECT ?::int4 + " + i, 1), row(Integer.toString(i + 1)), "row");
            }
            int kept = Integer.parseInt(rows(connection, "SELECT count(*) FROM pg_prepared_statements").get(0).get(0));
            equal(kept <= 6, true, "at most the cached statements are left");
        }
    }

    static void transactionError() throws Exception {
        String table = name("jdbc_tx");
        try (Connection connection = open()) {
            execute(connection, "CREATE TABLE " + table + " (id int PRIMARY KEY)");
            connection.setAutoCommit(false);
            execute(connection, "INSERT INTO " + table + " VALUES (1)");
            PSQLException error = fails("23505", () -> execute(connection, "INSERT INTO " + table + " VALUES (1)"));
            equal(error.getServerErrorMessage().getConstraint(), table + "_pkey", "constraint");
            fails("25P02", () -> execute(connection, "SELECT 1"));
            connection.rollback();
            equal(rows(connection, "SELECT count(*) FROM " + table), row("0"), "rows after rollback");
            var savepoint = connection.setSavepoint();
            execute(connection, "INSERT INTO " + table + " VALUES (2)");
            fails("22012", () -> execute(connection, "SELECT 1 / 0"));
            connection.rollback(savepoint);
            execute(connection, "INSERT INTO " + table + " VALUES (3)");
            connection.commit();
            equal(rows(connection, "SELECT id FROM " + table), row("3"), "rows after rollback to savepoint");
            execute(connection, "DROP TABLE " + table);
            connection.commit();
        }
        // The driver itself rolls back to a savepoint around each statement.
        try (Connection connection = open("autosave", "always")) {
            connection.setAutoCommit(false);
            equal(rows(connection, "SELECT 1"), row("1"), "row");
            fails("22012", () -> execute(connection, "SELECT 1 / 0"));
            equal(rows(connection, "SELECT 2"), row("2"), "row after an error with autosave");
            connection.rollback();
        }
    }

    static void copyInOut() throws Exception {
        String table = name("jdbc_copy");
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < 50_000; i++) {
            text.append(i).append("\trow ").append(i).append(" – é\n");
        }
        byte[] data = text.toString().getBytes(StandardCharsets.UTF_8);
        try (Connection connection = open()) {
            var copy = connection.unwrap(PGConnection.class).getCopyAPI();
            execute(connection, "CREATE TABLE " + table + " (id int, t text)");
            equal(copy.copyIn("COPY " + table + " FROM STDIN", new ByteArrayInputStream(data)), 50_000L, "rows copied in");
            var out = new ByteArrayOutputStream();
            equal(copy.copyOut("COPY (SELECT * FROM " + table + " ORDER BY id) TO STDOUT", out), 50_000L, "rows copied out");
            equal(Arrays.equals(out.toByteArray(), data), true, "copied text is the same");
            fails("22P02", () -> copy.copyIn("COPY " + table + " FROM STDIN",
                new ByteArrayInputStream("1\ta\nx\tb\n".getBytes(StandardCharsets.UTF_8))));
            // The client gives up half-way: CopyFail.
            var in = copy.copyIn("COPY " + table + " FROM STDIN");
            in.writeToCopy(data, 0, 9);
            in.cancelCopy();
            equal(rows(connection, "SELECT count(*) FROM " + table), row("50000"), "rows after failed COPYs");
            execute(connection, "DROP TABLE " + table);
        }
    }

    static void cancel() throws Exception {
        try (Connection connection = open(); Statement statement = connection.createStatement()) {
            Timer timer = new Timer(true);
            timer.schedule(new TimerTask() {
                @Override
                public void run() {
                    try {
                        statement.cancel();
                    } catch (SQLException e) {
                        e.printStackTrace();
                    }
                }
            }, 500);
            long started = System.nanoTime();
            PSQLException error = fails("57014", () -> statement.execute("SELECT pg_sleep(30)"));
            equal(error.getServerErrorMessage().getMessage(), "canceling statement due to user request", "message");
            within(CANCEL_MS, started, "cancel");
            timer.cancel();
            equal(rows(connection, "SELECT 42"), row("42"), "row after cancel");
        }
    }

    static void queryTimeout() throws Exception {
        // The driver's own timer, which also sends a cancel request.
        try (Connection connection = open(); Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            long started = System.nanoTime();
            fails("57014", () -> statement.execute("SELECT pg_sleep(30)"));
            within(CANCEL_MS, started, "timeout");
            equal(rows(connection, "SELECT 42"), row("42"), "row after timeout");
        }
    }

    static void statementTimeout() throws Exception {
        try (Connection connection = open("options", "-c statement_timeout=300")) {
            long started = System.nanoTime();
            PSQLException error = fails("57014", () -> execute(connection, "SELECT pg_sleep(30)"));
            equal(error.getServerErrorMessage().getMessage(), "canceling statement due to statement timeout", "message");
            within(CANCEL_MS, started, "timeout");
            equal(rows(connection, "SELECT 42"), row("42"), "row after timeout");
        }
    }

    static void listenNotify() throws Exception {
        String channel = name("ch");
        try (Connection listener = open(); Connection sender = open()) {
            execute(listener, "LISTEN " + channel);
            for (int i = 0; i < 3; i++) {
                rows(sender, "SELECT pg_notify(?, ?)", channel, "payload " + i);
            }
            // Nothing is sent on the listener: the notifications must come unasked.
            List<String> got = new ArrayList<>();
            long started = System.nanoTime();
            while (got.size() < 3 && System.nanoTime() - started < CANCEL_MS * 1_000_000L) {
                PGNotification[] some = listener.unwrap(PGConnection.class).getNotifications(500);
                for (PGNotification n : some == null ? new PGNotification[0] : some) {
                    got.add(n.getPID() + " " + n.getName() + " " + n.getParameter());
                }
            }
            int pid = sender.unwrap(PGConnection.class).getBackendPID();
            List<String> want = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                want.add(pid + " " + channel + " payload " + i);
            }
            equal(got, want, "notifications");
        }
    }

    static void bigValueBothWays() throws Exception {
        byte[] data = new byte[BIG];
        new Random(20).nextBytes(data);
        String digest = sha256(data);
        try (Connection connection = open("prepareThreshold", "-1");
            PreparedStatement statement = connection.prepareStatement(
                "SELECT length(v), encode(sha256(v), 'hex'), v FROM (SELECT ?::bytea AS v) s")) {
            statement.setBytes(1, data);
            try (ResultSet result = statement.executeQuery()) {
                equal(result.next(), true, "has a row");
                equal(result.getInt(1), BIG, "length at the server");
                equal(result.getString(2), digest, "hash at the server");
                equal(sha256(result.getBytes(3)), digest, "hash of what came back");
            }
        }
    }

    static void batch() throws Exception {
        String table = name("jdbc_batch");
        for (String rewrite : new String[] {"false", "true"}) {
            try (Connection connection = open("reWriteBatchedInserts", rewrite)) {
                execute(connection, "CREATE TABLE " + table + " (id int PRIMARY KEY, t text)");
                connection.setAutoCommit(false);
                try (PreparedStatement insert = connection.prepareStatement("INSERT INTO " + table + " VALUES (?, ?)")) {
                    for (int i = 0; i < 5_000; i++) {
                        insert.setInt(1, i);
                        insert.setString(2, "row " + i);
                        insert.addBatch();
                    }
                    equal(insert.executeBatch().length, 5_000, "results");
                    connection.commit();
                    for (int i = 9_000; i > 4_000; i--) {
                        insert.setInt(1, i);
                        insert.setString(2, "again");
                        insert.addBatch();
                    }
                    try {
                        insert.executeBatch();
                        throw new Failed("a duplicate was accepted");
                    } catch (BatchUpdateException e) {
                        equal(e.getSQLState(), "23505", "SQLSTATE");
                    }
                    connection.rollback();
                }
                equal(rows(connection, "SELECT count(*), sum(id) FROM " + table), row("5000", "12497500"), "rows");
                execute(connection, "DROP TABLE " + table);
                connection.commit();
            }
        }
    }

    static void simpleProtocol() throws Exception {
        try (Connection connection = open("preferQueryMode", "simple")) {
            equal(rows(connection, "SELECT ?::int4 + 1, ?::text", 1, "it's"), row("2", "it's"), "row");
        }
    }

    static void serverSideCursor() throws Exception {
        try (Connection connection = open()) {
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                // Execute with a row limit: the portal is suspended and resumed.
                statement.setFetchSize(1_000);
                int n = 0;
                try (ResultSet result = statement.executeQuery("SELECT g FROM generate_series(1, 10500) g")) {
                    while (result.next()) {
                        n++;
                        equal(result.getInt(1), n, "row");
                    }
                }
                equal(n, 10_500, "rows");
            }
            connection.commit();
        }
    }

    static void notices() throws Exception {
        try (Connection connection = open(); Statement statement = connection.createStatement()) {
            statement.execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$");
            List<String> got = new ArrayList<>();
            for (SQLWarning w = statement.getWarnings(); w != null; w = w.getNextWarning()) {
                got.add(w.getSQLState() + " " + w.getMessage());
            }
            equal(got, List.of("00000 first", "01000 second"), "notices");
        }
    }

    static int failed = 0;

    static void check(String name, Case test) {
        Timer timer = new Timer(true);
        timer.schedule(new TimerTask() {
            @Override
            public void run() {
                System.out.println("not ok " + name + ": no answer in " + CASE_MS / 1000 + " s");
                Runtime.getRuntime().halt(1);
            }
        }, CASE_MS);
        try {
            test.run();
            System.out.println("ok " + name);
        } catch (Exception e) {
            failed++;
            System.out.println("not ok " + name + ": " + e.toString().replaceAll("\\s+", " "));
            if (!(e instanceof Failed)) {
                e.printStackTrace();
            }
        } finally {
            timer.cancel();
        }
    }

    public static void main(String[] args) {
        check("connect", JdbcCheck::connect);
        check("wrong_password", JdbcCheck::wrongPassword);
        check("prepared_statements", JdbcCheck::preparedStatements);
        check("transaction_error", JdbcCheck::transactionError);
        check("copy_in_out", JdbcCheck::copyInOut);
        check("cancel", JdbcCheck::cancel);
        check("query_timeout", JdbcCheck::queryTimeout);
        check("statement_timeout", JdbcCheck::statementTimeout);
        check("listen_notify", JdbcCheck::listenNotify);
        check("big_value_both_ways", JdbcCheck::bigValueBothWays);
        check("batch", JdbcCheck::batch);
        check("simple_protocol", JdbcCheck::simpleProtocol);
        check("server_side_cursor", JdbcCheck::serverSideCursor);
        check("notices", JdbcCheck::notices);
        System.exit(failed > 0 ? 1 : 0);
    }
}
