package conformance;

import static org.apache.zookeeper.CreateMode.EPHEMERAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT;

import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;

/**
 * The promise about order: first in, first out within a session, and nothing
 * across sessions, those of one client included.
 */
final class OrderTests extends Suite {
    private static final AsyncCallback.StringCallback IGNORE = (rc, path, ctx, name) -> {};

    /**
     * A client creates /tasks and /workers without waiting, its session expires, and
     * in its next session it creates /assign. Then /tasks and /assign exist if they
     * were acknowledged; /workers may be there or not; but never without /tasks.
     */
    @Test
    void acrossSessions() throws Exception {
        ZooKeeper observer = connect(member(3), LONG_SESSION, new Events());
        Random random = new Random(7);
        final int rounds = 12;
        Attempt[] attempts = new Attempt[rounds];
        for (int i = 0; i < rounds; i++) {
            attempts[i] = new Attempt(observer, root() + "/" + i, 1 + i % 3);
        }
        for (int i = 0; i < rounds; i++) {
            attempts[i].begin(i % 2 == 0, random.nextInt(4_000_000));
        }
        for (int i = 0; i < rounds; i++) {
            attempts[i].finish();
        }
        settle(observer);
        for (Attempt attempt : attempts) {
            attempt.judge(observer);
        }
        // The expired sessions are gone for good: nothing of theirs comes later.
        settle(observer);
        for (Attempt attempt : attempts) {
            same(attempt.found, observer.getChildren(attempt.path, false).size(), "nodes below " + attempt.path + " some time later");
        }
    }

    /** One client with a session that is going to expire, and its next session. */
    private final class Attempt {
        final String path;
        private final ZooKeeper observer;
        /** An ephemeral of the first session: there as long as that one. */
        private final String alive;
        private final int member;
        private final Control.Proxy proxy;
        private final Events events = new Events();
        private final ZooKeeper first;
        private boolean tasksAcknowledged;
        private boolean workersAcknowledged;
        int found;

        Attempt(ZooKeeper observer, String path, int member) throws Exception {
            this.observer = observer;
            this.path = create(observer, path, PERSISTENT);
            this.member = member;
            proxy = control().proxy(member);
            first = connect(proxy.address, 1_000, events);
            alive = create(first, path + "-alive", EPHEMERAL);
        }

        /** Sends both creates; waits for the first one's answer or for an instant. */
        void begin(boolean waitForTasks, long nanos) throws Exception {
            CountDownLatch tasks = new CountDownLatch(1);
            first.create(path + "/tasks", null, OPEN, PERSISTENT, (rc, p, ctx, name) -> {
                tasksAcknowledged = rc == 0;
                tasks.countDown();
            }, null);
            if (waitForTasks) {
                check(tasks.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "no answer");
                proxy.hold();
                first.create(path + "/workers", null, OPEN, PERSISTENT, IGNORE, null);
            } else {
                first.create(path + "/workers", null, OPEN, PERSISTENT, (rc, p, ctx, name) -> workersAcknowledged = rc == 0, null);
                TimeUnit.NANOSECONDS.sleep(nanos); // the cut comes at any moment
            }
            proxy.cut();
        }

        /** Waits until the session is known to be over, and goes on in another one. */
        void finish() throws Exception {
            eventually("the session expires", () -> stat(observer, alive) == null);
            proxy.open();
            events.await(KeeperState.Expired);
            ZooKeeper second = connect(member(member), LONG_SESSION, new Events());
            create(second, path + "/assign", PERSISTENT);
        }

        void judge(ZooKeeper observer) throws Exception {
            List<String> nodes = observer.getChildren(path, false);
            found = nodes.size();
            check(nodes.contains("assign"), path + ": /assign is missing in " + nodes);
            check(!tasksAcknowledged || nodes.contains("tasks"), path + ": /tasks was acknowledged and is missing in " + nodes);
            check(!workersAcknowledged || nodes.contains("workers"), path + ": /workers was acknowledged and is missing in " + nodes);
            check(!nodes.contains("workers") || nodes.contains("tasks"), path + ": /workers without /tasks in " + nodes);
        }
    }
}
