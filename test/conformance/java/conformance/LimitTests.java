package conformance;

import static org.apache.zookeeper.CreateMode.PERSISTENT;

import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;

/** Large requests. */
final class LimitTests extends Suite {
    private static byte[] data(int size) {
        byte[] data = new byte[size];
        Arrays.fill(data, (byte) 'z');
        return data;
    }

    @Test
    void justBelowTheMaximum() throws Exception {
        ZooKeeper zk = connect();
        byte[] large = data(0xfffff - 500);
        zk.create(root() + "/n", large, OPEN, PERSISTENT);
        check(Arrays.equals(large, zk.getData(root() + "/n", false, null)), "read something else back");
        large[7] = 1;
        zk.setData(root() + "/n", large, 0);
        check(Arrays.equals(large, zk.getData(root() + "/n", false, null)), "read something else back");
    }

    /** A larger one costs the connection, and the session goes on. */
    @Test
    void aboveTheMaximum() throws Exception {
        Events events = new Events();
        ZooKeeper zk = connect(connectString(), LONG_SESSION, events);
        long id = zk.getSessionId();
        create(zk, root() + "/n", PERSISTENT);
        fails(Code.CONNECTIONLOSS, () -> zk.setData(root() + "/n", data(0xfffff + 1), -1));
        events.await(KeeperState.Disconnected);
        events.await(KeeperState.SyncConnected);
        same(id, zk.getSessionId(), "session");
        settle(zk);
        same("x", read(zk, root() + "/n"), "data");
        zk.setData(root() + "/n", null, 0);
    }

    /** Much data in flight, and all of it arrives. */
    @Test
    void manyLargeWrites() throws Exception {
        ZooKeeper zk = connect();
        final int count = 40;
        CountDownLatch done = new CountDownLatch(count);
        int[] failed = {0};
        for (int i = 0; i < count; i++) {
            zk.create(root() + "/" + i, data(200_000 + i), OPEN, PERSISTENT, (rc, path, ctx, name) -> {
                failed[0] += rc == 0 ? 0 : 1;
                done.countDown();
            }, null);
        }
        check(done.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "not every request was answered");
        same(0, failed[0], "failures");
        ZooKeeper other = connect();
        settle(other);
        for (int i = 0; i < count; i++) {
            same(200_000 + i, other.getData(root() + "/" + i, false, null).length, "length of node " + i);
        }
        for (int i = 0; i < count; i++) {
            zk.delete(root() + "/" + i, 0);
        }
    }

    @Test
    void manyChildren() throws Exception {
        ZooKeeper zk = connect();
        final int count = 3_000;
        CountDownLatch done = new CountDownLatch(count);
        for (int i = 0; i < count; i++) {
            zk.create(root() + "/child-" + i, null, OPEN, PERSISTENT, (rc, path, ctx, name) -> done.countDown(), null);
        }
        check(done.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "not every request was answered");
        same(count, zk.getChildren(root(), false).size(), "children");
        same(count, stat(zk, root()).getNumChildren(), "numChildren");
        same(count, zk.getAllChildrenNumber(root()), "all children");
    }

    @Test
    void deepTree() throws Exception {
        ZooKeeper zk = connect();
        StringBuilder path = new StringBuilder(root());
        for (int i = 0; i < 100; i++) {
            path.append("/level-").append(i);
            zk.create(path.toString(), null, OPEN, PERSISTENT, (rc, p, ctx, name) -> {}, null);
        }
        settle(zk);
        same(100, zk.getAllChildrenNumber(root()), "nodes");
        check(stat(zk, path.toString()) != null, "the deepest node is not there");
    }
}
