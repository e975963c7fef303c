package conformance;

import static org.apache.zookeeper.AddWatchMode.PERSISTENT_RECURSIVE;
import static org.apache.zookeeper.CreateMode.EPHEMERAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** Java's clients while members are killed and paused. One test at a time. */
final class FaultTests extends CuratorSuite {
    @Override
    void begin(String test) {
        super.begin(test);
        try {
            control().restore();
        } catch (Exception e) {
            throw new IllegalStateException("the ensemble is not whole before the test", e);
        }
    }

    private int anyFollower() throws Exception {
        return 1 + control().leader() % 3;
    }

    /** A counter under a lock, from every member, across two changes of leader. */
    @Test
    void lockAcrossLeaderChanges() throws Exception {
        String counter = root() + "/counter";
        CuratorFramework reader = curator();
        reader.create().forPath(counter, bytes("0"));
        AtomicBoolean stop = new AtomicBoolean();
        AtomicInteger sure = new AtomicInteger();
        AtomicInteger unsure = new AtomicInteger();
        List<Task> tasks = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            CuratorFramework client = curator();
            tasks.add(new Task("client " + i, () -> {
                InterProcessMutex mutex = new InterProcessMutex(client, root() + "/lock");
                ZooKeeper zk = client.getZookeeperClient().getZooKeeper();
                while (!stop.get()) {
                    try {
                        mutex.acquire();
                        // A lock whose client was cut off is no proof of holding it: the version is.
                        Stat stat = new Stat();
                        int value = Integer.parseInt(text(zk.getData(counter, false, stat)));
                        unsure.incrementAndGet();
                        zk.setData(counter, bytes("" + (value + 1)), stat.getVersion());
                        unsure.decrementAndGet();
                        sure.incrementAndGet();
                    } catch (KeeperException.BadVersionException e) {
                        unsure.decrementAndGet();
                    } catch (KeeperException.ConnectionLossException e) {
                        // what was unsure stays so
                    } finally {
                        if (mutex.isAcquiredInThisProcess()) {
                            mutex.release();
                        }
                    }
                }
            }));
        }
        for (int round = 0; round < 2; round++) {
            moreThan(sure, 10);
            int leader = control().leader();
            control().kill(leader);
            moreThan(sure, 10);
            control().start(leader);
            control().ready();
        }
        moreThan(sure, 10);
        stop.set(true);
        for (Task task : tasks) {
            task.join();
        }
        catchUp(reader);
        int value = Integer.parseInt(text(reader.getData().forPath(counter)));
        check(sure.get() <= value && value <= sure.get() + unsure.get(),
                "the counter is " + value + " after " + sure + " increments that are sure and " + unsure + " that may have been");
    }

    private static void moreThan(AtomicInteger number, int more) throws Exception {
        int goal = number.get() + more;
        eventually("the work goes on", () -> number.get() >= goal);
    }

    /** Watches of every kind live on when the client has to find another member. */
    @Test
    void watchesAcrossLeaderKill() throws Exception {
        ZooKeeper zk = connect();
        ZooKeeper other = connect();
        String p = root();
        create(zk, p + "/data", PERSISTENT);
        Events data = new Events();
        Events born = new Events();
        Events kids = new Events();
        Events tree = new Events();
        zk.getData(p + "/data", data, null);
        zk.exists(p + "/born", born);
        zk.getChildren(p + "/data", kids);
        zk.addWatch(p + "/tree", tree, PERSISTENT_RECURSIVE);
        int leader = control().leader();
        control().kill(leader);
        retrying(() -> other.setData(p + "/data", bytes("new"), -1));
        data.expect(EventType.NodeDataChanged, p + "/data");
        retrying(() -> create(other, p + "/born", PERSISTENT));
        born.expect(EventType.NodeCreated, p + "/born");
        create(other, p + "/data/child", PERSISTENT);
        kids.expect(EventType.NodeChildrenChanged, p + "/data");
        create(other, p + "/tree", PERSISTENT);
        create(other, p + "/tree/leaf", PERSISTENT);
        tree.expect(EventType.NodeCreated, p + "/tree");
        tree.expect(EventType.NodeCreated, p + "/tree/leaf");
        control().start(leader);
        control().ready();
    }

    /** A client whose member stands still notices, and goes on elsewhere. */
    @Test
    void memberPaused() throws Exception {
        int victim = anyFollower();
        int next = 1 + victim % 3;
        Events events;
        ZooKeeper zk;
        do { // the client begins with any of the two
            events = new Events();
            zk = connect(member(victim) + "," + member(next), 6_000, events);
        } while (!zk.toString().contains(member(victim)));
        ZooKeeper client = zk;
        String p = create(zk, root() + "/eph", EPHEMERAL);
        long id = zk.getSessionId();
        control().pause(victim);
        events.await(KeeperState.Disconnected);
        same(id, retrying(() -> stat(client, p)).getEphemeralOwner(), "owner");
        same(id, zk.getSessionId(), "session");
        control().resume(victim);
        control().ready();
    }

    /** The same with the leader: the others have to elect one meanwhile. */
    @Test
    void leaderPaused() throws Exception {
        int leader = control().leader();
        ZooKeeper zk = connect(connectString(), 15_000, new Events());
        String p = create(zk, root() + "/eph", EPHEMERAL);
        long id = zk.getSessionId();
        ZooKeeper other = connect(member(1 + leader % 3), LONG_SESSION, new Events());
        control().pause(leader);
        int version = retrying(() -> other.setData(root(), bytes("new"), -1)).getVersion();
        check(control().leader() != leader, "the paused member leads");
        same(id, retrying(() -> stat(zk, p)).getEphemeralOwner(), "owner");
        control().resume(leader);
        control().ready();
        ZooKeeper woken = connect(member(leader), LONG_SESSION, new Events());
        settle(woken);
        same(version, stat(woken, root()).getVersion(), "version as the woken member shows it");
    }

    /** All members down at once and up again: the session and its ephemerals stay. */
    @Test
    void everybodyRestarted() throws Exception {
        Events events = new Events();
        ZooKeeper zk = connect(connectString(), 60_000, events);
        long id = zk.getSessionId();
        create(zk, root() + "/eph", EPHEMERAL);
        create(zk, root() + "/node", PERSISTENT);
        Events data = new Events();
        zk.getData(root() + "/node", data, null);
        for (int member = 1; member <= 3; member++) {
            control().kill(member);
        }
        events.await(KeeperState.Disconnected);
        control().restore();
        events.await(KeeperState.SyncConnected);
        same(id, zk.getSessionId(), "session");
        same(id, retrying(() -> stat(zk, root() + "/eph")).getEphemeralOwner(), "owner");
        retrying(() -> zk.setData(root() + "/node", null, -1));
        data.expect(EventType.NodeDataChanged, root() + "/node");
        // The session ends like any other.
        zk.close();
        ZooKeeper other = connect();
        settle(other);
        same(null, stat(other, root() + "/eph"), "the ephemeral after the close");
    }

    /** A cache misses nothing that happens around a change of leader. */
    @Test
    void cacheAcrossLeaderKill() throws Exception {
        String p = root();
        CuratorFramework writer = curator();
        CuratorCache cache = closing(CuratorCache.build(curator(), root()));
        cache.start();
        AtomicBoolean stop = new AtomicBoolean();
        AtomicInteger written = new AtomicInteger();
        Task task = new Task("writer", () -> {
            while (!stop.get()) {
                // Set or create, whichever applies: it may be tried twice.
                writer.create().orSetData().forPath(root() + "/" + written.get() % 50, bytes("" + written.get()));
                written.incrementAndGet();
            }
        });
        moreThan(written, 60);
        int leader = control().leader();
        control().kill(leader);
        moreThan(written, 60);
        control().start(leader);
        control().ready();
        moreThan(written, 60);
        stop.set(true);
        task.join();
        Map<String, String> want = new TreeMap<>();
        for (String child : writer.getChildren().forPath(root())) {
            want.put(root() + "/" + child, text(writer.getData().forPath(root() + "/" + child)));
        }
        eventually("the cache holds what the tree holds", () -> {
            Map<String, String> got = new TreeMap<>();
            cache.stream().filter(node -> !node.getPath().equals(p)).forEach(node -> got.put(node.getPath(), text(node.getData())));
            return want.equals(got);
        });
    }

    /** At most one leads at any time, and one does in the end. */
    @Test
    void latchAcrossLeaderKill() throws Exception {
        List<LeaderLatch> latches = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            LeaderLatch latch = closing(new LeaderLatch(curator(), root() + "/latch", "c" + i));
            latch.start();
            latches.add(latch);
        }
        eventually("one leads", () -> leaders(latches) == 1);
        int leader = control().leader();
        control().kill(leader);
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(2);
        while (System.nanoTime() < end) {
            // Looked at twice: one may hand over to another between the looks.
            check(Math.min(leaders(latches), leaders(latches)) <= 1, "two lead");
            Thread.sleep(5); // between two looks
        }
        eventually("one leads again", () -> leaders(latches) == 1);
        control().start(leader);
        control().ready();
    }

    private static int leaders(List<LeaderLatch> latches) {
        int count = 0;
        for (LeaderLatch latch : latches) {
            count += latch.hasLeadership() ? 1 : 0;
        }
        return count;
    }
}
