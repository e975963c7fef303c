package conformance;

import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryNTimes;

/** What the tests of Curator's recipes share: clients that are closed at the end. */
abstract class CuratorSuite extends Suite {
    /** A started client of the whole ensemble. */
    CuratorFramework curator() throws Exception {
        return curator(connectString(), LONG_SESSION);
    }

    /** A started client of one address. */
    CuratorFramework curator(String address, int timeout) throws Exception {
        CuratorFramework client = closing(CuratorFrameworkFactory.builder()
                .connectString(address)
                .sessionTimeoutMs(timeout)
                .connectionTimeoutMs(15_000)
                .retryPolicy(new RetryNTimes(100, 100))
                // It would go on to the addresses in /zookeeper/config, past any proxy.
                .ensembleTracker(false)
                .build());
        client.start();
        check(client.blockUntilConnected(PATIENCE_SECONDS, TimeUnit.SECONDS), "no connection");
        return client;
    }

    /** Makes client's member show all that was acknowledged before; see {@link #settle}. */
    static void catchUp(CuratorFramework client) throws Exception {
        settle(client.getZookeeperClient().getZooKeeper());
    }

    /** A thread that runs body, and whose failure the test can ask for. */
    static final class Task {
        private final Thread thread;
        private volatile Throwable failure;

        Task(String name, Action body) {
            thread = new Thread(() -> {
                try {
                    body.run();
                } catch (Throwable e) {
                    failure = e;
                }
            }, name);
            thread.setDaemon(true);
            thread.start();
        }

        /** Waits for the end and passes its failure on. */
        void join() throws Exception {
            thread.join(TimeUnit.SECONDS.toMillis(PATIENCE_SECONDS));
            if (thread.isAlive()) {
                AssertionError hangs = new AssertionError(thread.getName() + " hangs");
                hangs.setStackTrace(thread.getStackTrace());
                throw hangs;
            }
            if (failure != null) {
                throw new AssertionError(thread.getName() + ": " + failure, failure);
            }
        }

        boolean ended() {
            return !thread.isAlive();
        }
    }
}
