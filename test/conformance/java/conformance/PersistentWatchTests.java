package conformance;

import static org.apache.zookeeper.AddWatchMode.PERSISTENT_RECURSIVE;
import static org.apache.zookeeper.CreateMode.PERSISTENT;

import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooKeeper;

/** Watches that stay. */
final class PersistentWatchTests extends Suite {
    @Test
    void persistent() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/a";
        Events events = new Events();
        zk.addWatch(p, events, AddWatchMode.PERSISTENT); // the node need not be there
        for (int round = 0; round < 3; round++) {
            create(zk, p, PERSISTENT);
            events.expect(EventType.NodeCreated, p);
            zk.setData(p, null, -1);
            events.expect(EventType.NodeDataChanged, p);
            create(zk, p + "/b", PERSISTENT);
            events.expect(EventType.NodeChildrenChanged, p);
            zk.setData(p + "/b", null, -1);
            create(zk, p + "/b/c", PERSISTENT);
            zk.delete(p + "/b/c", -1);
            zk.delete(p + "/b", -1);
            events.expect(EventType.NodeChildrenChanged, p);
            zk.delete(p, -1);
            events.expect(EventType.NodeDeleted, p);
        }
    }

    @Test
    void recursive() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/a";
        Events events = new Events();
        zk.addWatch(p, events, PERSISTENT_RECURSIVE);
        for (int round = 0; round < 3; round++) {
            create(zk, p, PERSISTENT);
            events.expect(EventType.NodeCreated, p);
            create(zk, p + "/b", PERSISTENT);
            events.expect(EventType.NodeCreated, p + "/b");
            create(zk, p + "/b/c", PERSISTENT);
            events.expect(EventType.NodeCreated, p + "/b/c");
            zk.setData(p + "/b/c", null, -1);
            events.expect(EventType.NodeDataChanged, p + "/b/c");
            zk.delete(p + "/b/c", -1);
            events.expect(EventType.NodeDeleted, p + "/b/c");
            zk.delete(p + "/b", -1);
            events.expect(EventType.NodeDeleted, p + "/b");
            zk.delete(p, -1);
            events.expect(EventType.NodeDeleted, p);
        }
        // A neighbour whose name begins alike is not below.
        create(zk, p + "bc", PERSISTENT);
        settle(zk);
        events.expectNone();
    }

    @Test
    void recursiveOnTheRoot() throws Exception {
        ZooKeeper zk = connect();
        Events events = new Events();
        String p = root() + "/a";
        zk.addWatch("/", events, PERSISTENT_RECURSIVE);
        create(zk, p, PERSISTENT);
        // Other tests are at work below the root too.
        while (!p.equals(events.next().getPath())) {
            continue;
        }
        zk.removeAllWatches("/", WatcherType.Any, false);
    }

    /**
     * Standard watches below a recursive one of the same session. (On the very same
     * path 3.8 mixes the two up: ZOOKEEPER-4466.)
     */
    @Test
    void besideOneShotWatches() throws Exception {
        ZooKeeper zk = connect();
        String p = root();
        Events recursive = new Events();
        Events once = new Events();
        zk.addWatch(p, recursive, PERSISTENT_RECURSIVE);
        create(zk, p + "/a", PERSISTENT);
        recursive.expect(EventType.NodeCreated, p + "/a");
        zk.getData(p + "/a", once, null);
        zk.setData(p + "/a", null, -1);
        zk.setData(p + "/a", null, -1);
        create(zk, p + "/b", PERSISTENT);
        once.expect(EventType.NodeDataChanged, p + "/a");
        recursive.expect(EventType.NodeDataChanged, p + "/a");
        recursive.expect(EventType.NodeDataChanged, p + "/a");
        recursive.expect(EventType.NodeCreated, p + "/b");
        settle(zk);
        once.expectNone();
        recursive.expectNone();
    }

    @Test
    void stayAcrossReconnection() throws Exception {
        ZooKeeper other = connect();
        Control.Proxy proxy = control().proxy(3);
        Events session = new Events();
        ZooKeeper zk = connect(proxy.address, LONG_SESSION, session);
        String p = root();
        Events persistent = new Events();
        Events recursive = new Events();
        zk.addWatch(p + "/a", persistent, AddWatchMode.PERSISTENT);
        zk.addWatch(p + "/r", recursive, PERSISTENT_RECURSIVE);
        proxy.cut();
        session.await(KeeperState.Disconnected);
        proxy.open();
        session.await(KeeperState.SyncConnected);
        settle(zk);
        create(other, p + "/a", PERSISTENT);
        persistent.expect(EventType.NodeCreated, p + "/a");
        create(other, p + "/r", PERSISTENT);
        create(other, p + "/r/x", PERSISTENT);
        recursive.expect(EventType.NodeCreated, p + "/r");
        recursive.expect(EventType.NodeCreated, p + "/r/x");
    }

    @Test
    void remove() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/a";
        create(zk, p, PERSISTENT);
        Events persistent = new Events();
        zk.addWatch(p, persistent, AddWatchMode.PERSISTENT);
        zk.removeWatches(p, persistent, WatcherType.Any, false);
        persistent.expect(EventType.PersistentWatchRemoved, p);
        Events recursive = new Events();
        zk.addWatch(p, recursive, PERSISTENT_RECURSIVE);
        zk.removeWatches(p, recursive, WatcherType.Any, false);
        recursive.expect(EventType.PersistentWatchRemoved, p);
        zk.setData(p, null, -1);
        settle(zk);
        persistent.expectNone();
        recursive.expectNone();
        fails(Code.NOWATCHER, () -> zk.removeWatches(p, recursive, WatcherType.Any, false));
    }

    /** Many sessions, many persistent watches: none outlives its session. */
    @Test
    void goWithTheSession() throws Exception {
        ZooKeeper zk = connect();
        String p = root();
        for (int i = 0; i < 10; i++) {
            ZooKeeper watcher = connect();
            watcher.addWatch(p, new Events(), i % 2 == 0 ? AddWatchMode.PERSISTENT : PERSISTENT_RECURSIVE);
            watcher.close();
        }
        Events events = new Events();
        zk.addWatch(p, events, PERSISTENT_RECURSIVE);
        create(zk, p + "/a", PERSISTENT);
        events.expect(EventType.NodeCreated, p + "/a");
    }
}
