package conformance;

import static org.apache.zookeeper.CreateMode.CONTAINER;
import static org.apache.zookeeper.CreateMode.EPHEMERAL;
import static org.apache.zookeeper.CreateMode.EPHEMERAL_SEQUENTIAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT;
import static org.apache.zookeeper.CreateMode.PERSISTENT_SEQUENTIAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL;
import static org.apache.zookeeper.CreateMode.PERSISTENT_WITH_TTL;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** Creating nodes in every mode, and the nodes that go away by themselves. */
final class CreateTests extends Suite {
    @Test
    void everyModeWithStat() throws Exception {
        ZooKeeper zk = connect();
        for (CreateMode mode : CreateMode.values()) {
            Stat stat = new Stat();
            String path = root() + "/" + mode;
            String made = zk.create(path, bytes("data"), OPEN, mode, stat, mode.isTTL() ? 3_600_000 : -1);
            check(mode.isSequential() ? made.matches(path + "\\d{10}") : made.equals(path), mode + " made " + made);
            same(stat, stat(zk, made), mode + ": the stat that create gave");
            same(stat.getCzxid(), stat.getMzxid(), mode + ": mzxid");
            same(stat.getCzxid(), stat.getPzxid(), mode + ": pzxid");
            same(stat.getCtime(), stat.getMtime(), mode + ": mtime");
            same(0, stat.getVersion() + stat.getCversion() + stat.getAversion() + stat.getNumChildren(), mode + ": versions and children");
            same(4, stat.getDataLength(), mode + ": dataLength");
            // Containers and TTL nodes look like any persistent node.
            same(mode.isEphemeral() ? zk.getSessionId() : 0L, stat.getEphemeralOwner(), mode + ": ephemeralOwner");
            same("data", read(zk, made), mode + ": data");
        }
    }

    @Test
    void withoutStat() throws Exception {
        ZooKeeper zk = connect();
        for (CreateMode mode : List.of(PERSISTENT, EPHEMERAL, PERSISTENT_SEQUENTIAL, EPHEMERAL_SEQUENTIAL, CONTAINER)) {
            String made = create(zk, root() + "/" + mode, mode);
            check(stat(zk, made) != null, made + " is not there");
        }
    }

    /** The number counts every child ever created, not only the sequential ones. */
    @Test
    void sequentialNumbers() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/n";
        same(p + "0000000000", create(zk, p, PERSISTENT_SEQUENTIAL), "first");
        create(zk, root() + "/plain", PERSISTENT);
        same(p + "0000000002", create(zk, p, EPHEMERAL_SEQUENTIAL), "after a plain one");
        zk.delete(p + "0000000000", -1);
        zk.delete(root() + "/plain", -1);
        same(p + "0000000003", create(zk, p, PERSISTENT_SEQUENTIAL), "after deletes");
        same(root() + "/0000000004", create(zk, root() + "/", PERSISTENT_SEQUENTIAL), "with nothing before the number");
        same(p + "0000000005", zk.create(p, null, OPEN, PERSISTENT_SEQUENTIAL_WITH_TTL, new Stat(), 3_600_000), "with a TTL");
        fails(Code.NODEEXISTS, () -> create(zk, p + "0000000005", PERSISTENT));
        same(p + "0000000006", create(zk, p, PERSISTENT_SEQUENTIAL), "after a create that failed");
    }

    /** Many creators, no number twice. */
    @Test
    void sequentialNumbersAcrossSessions() throws Exception {
        List<ZooKeeper> clients = new ArrayList<>();
        for (int member = 1; member <= 3; member++) {
            clients.add(connect(member(member), LONG_SESSION, new Events()));
        }
        Set<String> names = new HashSet<>();
        CountDownLatch all = new CountDownLatch(150);
        for (int i = 0; i < 50; i++) {
            for (ZooKeeper zk : clients) {
                AsyncCallback.StringCallback made = (rc, path, ctx, name) -> {
                    synchronized (names) {
                        names.add(name);
                    }
                    all.countDown();
                };
                zk.create(root() + "/", null, OPEN, EPHEMERAL_SEQUENTIAL, made, null);
            }
        }
        check(all.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "not all creates were answered");
        same(150, names.size(), "different names");
        check(names.contains(root() + "/0000000149"), "the last number is not 149");
    }

    @Test
    void errors() throws Exception {
        ZooKeeper zk = connect();
        create(zk, root() + "/eph", EPHEMERAL);
        same(root() + "/eph", fails(Code.NODEEXISTS, () -> create(zk, root() + "/eph", PERSISTENT)).getPath(), "path in the exception");
        fails(Code.NONODE, () -> create(zk, root() + "/no/way", PERSISTENT));
        fails(Code.NOCHILDRENFOREPHEMERALS, () -> create(zk, root() + "/eph/child", PERSISTENT));
        fails(Code.NODEEXISTS, () -> create(zk, "/zookeeper", PERSISTENT));
    }

    @Test
    void nullAndEmptyData() throws Exception {
        ZooKeeper zk = connect();
        zk.create(root() + "/null", null, OPEN, PERSISTENT);
        zk.create(root() + "/empty", new byte[0], OPEN, PERSISTENT);
        same(null, zk.getData(root() + "/null", false, null), "null data");
        same(0, zk.getData(root() + "/empty", false, null).length, "length of empty data");
        same(0, stat(zk, root() + "/null").getDataLength(), "dataLength of null data");
        zk.setData(root() + "/empty", null, -1);
        same(null, zk.getData(root() + "/empty", false, null), "data set to null");
    }

    @Test
    void unicodeNames() throws Exception {
        ZooKeeper zk = connect();
        for (String name : List.of("ünïcödé", "日本語", " space", "a.b", "...")) {
            String path = root() + "/" + name;
            same(path, create(zk, path, PERSISTENT), "created");
            check(zk.getChildren(root(), false).contains(name), name + " is not among the children");
            zk.delete(path, -1);
        }
    }

    /** A container goes once its last child has gone, and not before it had one. */
    @Test
    void containerIsReaped() throws Exception {
        ZooKeeper zk = connect();
        String used = root() + "/used";
        String unused = root() + "/unused";
        String plain = root() + "/plain";
        create(zk, used, CONTAINER);
        create(zk, unused, CONTAINER);
        create(zk, plain, PERSISTENT);
        create(zk, used + "/child", PERSISTENT);
        create(zk, plain + "/child", PERSISTENT);
        Events events = new Events();
        zk.exists(used, events);
        zk.delete(plain + "/child", -1);
        zk.delete(used + "/child", -1);
        events.expect(EventType.NodeDeleted, used);
        check(stat(zk, unused) != null, "a container that never had children was reaped");
        check(stat(zk, plain) != null, "a persistent node was reaped");
    }

    @Test
    void containerWithChildrenStays() throws Exception {
        ZooKeeper zk = connect();
        create(zk, root() + "/full", CONTAINER);
        create(zk, root() + "/full/a", PERSISTENT);
        create(zk, root() + "/full/b", PERSISTENT);
        zk.delete(root() + "/full/a", -1);
        // When this one has been reaped, the other one was looked at too.
        create(zk, root() + "/probe", CONTAINER);
        create(zk, root() + "/probe/a", PERSISTENT);
        zk.delete(root() + "/probe/a", -1);
        eventually("the empty container is reaped", () -> stat(zk, root() + "/probe") == null);
        check(stat(zk, root() + "/full") != null, "a container with a child was reaped");
    }

    @Test
    void ttlNodesAreReaped() throws Exception {
        ZooKeeper zk = connect();
        Stat stat = new Stat();
        String lone = zk.create(root() + "/lone", null, OPEN, PERSISTENT_WITH_TTL, stat, 500);
        String seq = zk.create(root() + "/seq-", null, OPEN, PERSISTENT_SEQUENTIAL_WITH_TTL, stat, 500);
        String parent = zk.create(root() + "/parent", null, OPEN, PERSISTENT_WITH_TTL, stat, 500);
        String patient = zk.create(root() + "/patient", null, OPEN, PERSISTENT_WITH_TTL, stat, 3_600_000);
        create(zk, parent + "/child", PERSISTENT);
        eventually("the nodes without children go", () -> stat(zk, lone) == null && stat(zk, seq) == null);
        check(stat(zk, parent) != null, "a TTL node with a child was reaped");
        check(stat(zk, patient) != null, "a node was reaped before its time");
        zk.delete(parent + "/child", -1);
        eventually("the parent goes after its child", () -> stat(zk, parent) == null);
    }

    /** A change of its data keeps a TTL node alive. */
    @Test
    void ttlCountsFromTheLastChange() throws Exception {
        ZooKeeper zk = connect();
        final long ttl = 1_500;
        String kept = root() + "/kept";
        zk.create(kept, null, OPEN, PERSISTENT_WITH_TTL, new Stat(), ttl);
        long start = System.nanoTime();
        long last = start;
        while (System.nanoTime() - start < TimeUnit.MILLISECONDS.toNanos(3 * ttl)) {
            long before = System.nanoTime();
            try {
                zk.setData(kept, null, -1);
                last = before;
            } catch (KeeperException.NoNodeException e) {
                long idle = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - last);
                check(idle >= ttl, "reaped " + idle + " ms after a write, with a TTL of " + ttl);
                // This machine stood still for too long: begin again.
                zk.create(kept, null, OPEN, PERSISTENT_WITH_TTL, new Stat(), ttl);
                start = last = System.nanoTime();
            }
            Thread.sleep(50); // the pace of the writes
        }
    }
}
