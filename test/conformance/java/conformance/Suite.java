package conformance;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Stat;

/**
 * What every test has at hand: clients that are closed when the test ends, a node
 * of its own, and assertions. One object runs one test.
 *
 * <p>Environment: CONNECT is the members' addresses separated by commas, member
 * 1's first; CONTROL the harness's address; TARGET "conclave" or "zookeeper".
 */
abstract class Suite {
    /** Bounds every wait; nothing waits that long unless something is wrong. */
    static final int PATIENCE_SECONDS = 45;
    /** A session that no test is meant to lose. */
    static final int LONG_SESSION = 30_000;

    static final List<ACL> OPEN = Ids.OPEN_ACL_UNSAFE;

    private final List<AutoCloseable> resources = new ArrayList<>();
    private Control control;
    /** The test's own node, created when first asked for. */
    private String root;
    private String name;

    /** Something to do that may throw. */
    interface Action {
        void run() throws Exception;
    }

    /** A condition that may throw. */
    interface Condition {
        boolean holds() throws Exception;
    }

    void begin(String test) {
        name = test;
    }

    /**
     * Closes what the test opened. All at once, because a client whose network was
     * taken away needs a second to give up.
     */
    void end() {
        List<Thread> closers = new ArrayList<>();
        for (AutoCloseable resource : resources) {
            Thread closer = new Thread(() -> {
                try {
                    resource.close();
                } catch (Exception e) {
                    // The test has its verdict: what it broke may not close well.
                }
            }, name + " closes " + resource.getClass().getSimpleName());
            closer.setDaemon(true);
            closer.start();
            closers.add(closer);
        }
        try {
            for (Thread closer : closers) {
                closer.join(TimeUnit.SECONDS.toMillis(10));
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Has resource closed when the test ends. */
    <T extends AutoCloseable> T closing(T resource) {
        resources.add(resource);
        return resource;
    }

    static String connectString() {
        return System.getenv("CONNECT");
    }

    /** The client address of member, from 1. */
    static String member(int member) {
        return connectString().split(",")[member - 1];
    }

    Control control() throws IOException {
        if (control == null) {
            control = closing(new Control());
        }
        return control;
    }

    /** A connected client of the whole ensemble. */
    ZooKeeper connect() throws Exception {
        return connect(connectString(), LONG_SESSION, new Events());
    }

    /** A connected client of one address, which events reports the states of. */
    ZooKeeper connect(String address, int timeout, Events events) throws Exception {
        ZooKeeper zk = closing(new ZooKeeper(address, timeout, events));
        events.await(KeeperState.SyncConnected);
        return zk;
    }

    /** A client that takes over the session of another one. */
    ZooKeeper attach(String address, Events events, long id, byte[] passwd) throws Exception {
        return closing(new ZooKeeper(address, LONG_SESSION, events, id, passwd));
    }

    /** The test's own node, for everything it creates. */
    String root() throws Exception {
        if (root == null) {
            root = "/java-" + name;
            try (ZooKeeper zk = new ZooKeeper(connectString(), LONG_SESSION, new Events())) {
                zk.create(root, null, OPEN, CreateMode.PERSISTENT);
            }
        }
        return root;
    }

    /**
     * Waits until zk's member has applied all that was acknowledged before anywhere,
     * and until every event that it sent meanwhile has reached its watchers: events
     * and callbacks share one queue. It takes a write, even if one that fails:
     * ZooKeeper's leader answers a sync before it has applied what others have.
     */
    static void settle(ZooKeeper zk) throws Exception {
        CountDownLatch done = new CountDownLatch(1);
        zk.delete("/there-is-no-such-node", -1, (rc, path, ctx) -> done.countDown(), null);
        if (!done.await(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
            throw new AssertionError("a write was not answered");
        }
    }

    static String create(ZooKeeper zk, String path, CreateMode mode) throws Exception {
        return zk.create(path, bytes("x"), OPEN, mode);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] data) {
        return data == null ? null : new String(data, StandardCharsets.UTF_8);
    }

    static String read(ZooKeeper zk, String path) throws Exception {
        return text(zk.getData(path, false, null));
    }

    static Stat stat(ZooKeeper zk, String path) throws Exception {
        return zk.exists(path, false);
    }

    static void check(boolean condition, String message) {
        if (!condition) {
            throw new AssertionError(message);
        }
    }

    static void same(Object want, Object got, String what) {
        if (!Objects.equals(want, got)) {
            throw new AssertionError(what + ": got " + got + ", want " + want);
        }
    }

    /** Runs action, which has to fail with code. */
    static KeeperException fails(KeeperException.Code code, Action action) throws Exception {
        try {
            action.run();
        } catch (KeeperException e) {
            same(code, e.code(), "error");
            return e;
        }
        throw new AssertionError("it succeeded, want " + code);
    }

    /** Polls until condition holds; an exception counts as not yet. */
    static void eventually(String what, Condition condition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        Throwable last = null;
        while (System.nanoTime() < deadline) {
            try {
                if (condition.holds()) {
                    return;
                }
                last = null;
            } catch (Exception e) {
                last = e;
            }
            Thread.sleep(20); // between two polls
        }
        throw new AssertionError("not within " + PATIENCE_SECONDS + " s: " + what, last);
    }

    /** Repeats op while it fails for want of a connection. */
    static <T> T retrying(Callable<T> op) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
        while (true) {
            try {
                return op.call();
            } catch (KeeperException.ConnectionLossException e) {
                if (System.nanoTime() > deadline) {
                    throw e;
                }
                Thread.sleep(20); // between two tries
            }
        }
    }
}
