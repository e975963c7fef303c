package conformance;

import static org.apache.zookeeper.CreateMode.EPHEMERAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** Watches that fire once. */
final class WatchTests extends Suite {
    @Test
    void exists() throws Exception {
        ZooKeeper zk = connect();
        ZooKeeper other = connect();
        String p = root() + "/a";
        Events events = new Events();
        same(null, zk.exists(p, events), "stat before");
        create(other, p, PERSISTENT);
        events.expect(EventType.NodeCreated, p);
        check(zk.exists(p, events) != null, "not there after the event");
        other.setData(p, null, -1);
        events.expect(EventType.NodeDataChanged, p);
        settle(zk);
        zk.exists(p, events);
        create(other, p + "/child", PERSISTENT);
        other.delete(p + "/child", -1);
        other.delete(p, -1);
        // Children are no business of an exists watch.
        events.expect(EventType.NodeDeleted, p);
    }

    @Test
    void data() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/a";
        Events events = new Events();
        fails(Code.NONODE, () -> zk.getData(p, events, null));
        create(zk, p, PERSISTENT);
        zk.getData(p, events, null);
        zk.setData(p, bytes("x"), -1); // the same bytes are a change too
        events.expect(EventType.NodeDataChanged, p);
        zk.setData(p, bytes("y"), -1);
        settle(zk);
        events.expectNone();
        zk.getData(p, events, null);
        zk.delete(p, -1);
        events.expect(EventType.NodeDeleted, p);
    }

    @Test
    void children() throws Exception {
        ZooKeeper zk = connect();
        String p = root();
        Events events = new Events();
        zk.getChildren(p, events);
        create(zk, p + "/a", EPHEMERAL);
        events.expect(EventType.NodeChildrenChanged, p);
        zk.getChildren(p, events, new Stat());
        zk.setData(p + "/a", null, -1);
        zk.setData(p, null, -1);
        settle(zk);
        events.expectNone();
        zk.delete(p + "/a", -1);
        events.expect(EventType.NodeChildrenChanged, p);
        zk.getChildren(p, events);
        zk.delete(p, -1);
        events.expect(EventType.NodeDeleted, p);
    }

    /** One watcher on both lists of one node hears of its end once. */
    @Test
    void oneWatcherManyWatches() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/a";
        create(zk, p, PERSISTENT);
        Events events = new Events();
        zk.getData(p, events, null);
        zk.exists(p, events);
        zk.getChildren(p, events);
        zk.getChildren(p, events, null);
        zk.delete(p, -1);
        events.expect(EventType.NodeDeleted, p);
        settle(zk);
        events.expectNone();
    }

    @Test
    void manyWatchersOneNode() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/a";
        create(zk, p, PERSISTENT);
        Events[] events = new Events[10];
        ZooKeeper[] clients = new ZooKeeper[10];
        for (int i = 0; i < 10; i++) {
            events[i] = new Events();
            clients[i] = connect(member(1 + i % 3), LONG_SESSION, new Events());
            settle(clients[i]);
            clients[i].getData(p, events[i], null);
        }
        zk.setData(p, null, -1);
        for (Events e : events) {
            e.expect(EventType.NodeDataChanged, p);
        }
        zk.setData(p, null, -1);
        for (int i = 0; i < 10; i++) {
            settle(clients[i]);
            events[i].expectNone();
        }
    }

    /** A callback never sees the new state before the event about it. */
    @Test
    void eventBeforeNewState() throws Exception {
        ZooKeeper reader = connect(member(1), LONG_SESSION, new Events());
        ZooKeeper writer = connect(member(2), LONG_SESSION, new Events());
        String p = root() + "/a";
        create(writer, p, PERSISTENT);
        settle(reader);
        for (int round = 0; round < 50; round++) {
            boolean[] fired = {false};
            CountDownLatch seen = new CountDownLatch(1);
            String[] early = {null};
            Stat start = new Stat();
            reader.getData(p, event -> fired[0] = true, start);
            writer.setData(p, null, -1, (rc, path, ctx, stat) -> {}, null);
            while (seen.getCount() > 0) {
                CountDownLatch answered = new CountDownLatch(1);
                // Events and callbacks come on one thread, in the order of the wire.
                reader.exists(p, false, (rc, path, ctx, stat) -> {
                    if (stat.getVersion() != start.getVersion()) {
                        if (!fired[0]) {
                            early[0] = "version " + stat.getVersion() + " was read before the event";
                        }
                        seen.countDown();
                    }
                    answered.countDown();
                }, null);
                check(answered.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "no answer");
            }
            same(null, early[0], "order");
        }
    }

    /** Events come in the order in which things happened. */
    @Test
    void orderOfEvents() throws Exception {
        ZooKeeper zk = connect();
        ZooKeeper other = connect(member(3), LONG_SESSION, new Events());
        String p = root();
        Events events = new Events();
        for (int i = 0; i < 50; i++) {
            zk.exists(p + "/" + i, events);
        }
        for (int i = 0; i < 50; i++) {
            other.create(p + "/" + i, null, OPEN, PERSISTENT, (rc, path, ctx, name) -> {}, null);
        }
        for (int i = 0; i < 50; i++) {
            events.expect(EventType.NodeCreated, p + "/" + i);
        }
    }

    /** What changed while the client was away, it is told when it comes back. */
    @Test
    void missedWhileDisconnected() throws Exception {
        ZooKeeper other = connect();
        String p = root();
        for (String n : new String[] {"/changed", "/deleted", "/kids", "/same", "/deletedkids"}) {
            create(other, p + n, PERSISTENT);
        }
        Control.Proxy proxy = control().proxy(2);
        Events session = new Events();
        ZooKeeper zk = connect(proxy.address, LONG_SESSION, session);
        settle(zk);
        Events changed = new Events();
        Events deleted = new Events();
        Events created = new Events();
        Events kids = new Events();
        Events same = new Events();
        Events unborn = new Events();
        Events deletedKids = new Events();
        zk.getData(p + "/changed", changed, null);
        zk.getData(p + "/deleted", deleted, null);
        zk.exists(p + "/created", created);
        zk.getChildren(p + "/kids", kids);
        zk.getData(p + "/same", same, null);
        zk.exists(p + "/unborn", unborn);
        zk.getChildren(p + "/deletedkids", deletedKids);

        proxy.cut();
        session.await(KeeperState.Disconnected);
        other.setData(p + "/changed", null, -1);
        other.delete(p + "/deleted", -1);
        create(other, p + "/created", PERSISTENT);
        create(other, p + "/kids/a", PERSISTENT);
        other.delete(p + "/deletedkids", -1);
        proxy.open();
        session.await(KeeperState.SyncConnected);

        changed.expect(EventType.NodeDataChanged, p + "/changed");
        deleted.expect(EventType.NodeDeleted, p + "/deleted");
        created.expect(EventType.NodeCreated, p + "/created");
        kids.expect(EventType.NodeChildrenChanged, p + "/kids");
        deletedKids.expect(EventType.NodeDeleted, p + "/deletedkids");
        settle(zk);
        same.expectNone();
        unborn.expectNone();
        // What did not happen yet is watched still.
        other.setData(p + "/same", null, -1);
        same.expect(EventType.NodeDataChanged, p + "/same");
        create(other, p + "/unborn", PERSISTENT);
        unborn.expect(EventType.NodeCreated, p + "/unborn");
    }

    /** So many watches that the client has to split its setWatches. */
    @Test
    void manyWatchesAcrossReconnection() throws Exception {
        ZooKeeper other = connect();
        String p = root() + "/a-rather-long-name-so-that-the-paths-add-up-to-more-than-one-request-can-hold-" + "x".repeat(200);
        create(other, p, PERSISTENT);
        Control.Proxy proxy = control().proxy(1);
        Events session = new Events();
        ZooKeeper zk = connect(proxy.address, LONG_SESSION, session);
        settle(zk);
        Events events = new Events();
        final int count = 1000; // times 300 bytes
        for (int i = 0; i < count; i++) {
            zk.exists(p + "/" + i, events, (rc, path, ctx, stat) -> {}, null);
        }
        settle(zk);
        proxy.cut();
        session.await(KeeperState.Disconnected);
        create(other, p + "/0", PERSISTENT);
        create(other, p + "/" + (count - 1), PERSISTENT);
        proxy.open();
        session.await(KeeperState.SyncConnected);
        String first = events.next().getPath();
        String second = events.next().getPath();
        check(first.endsWith("/0") != second.endsWith("/0"), "told of " + first + " and " + second);
        create(other, p + "/500", PERSISTENT);
        events.expect(EventType.NodeCreated, p + "/500");
    }

    @Test
    void removeWatches() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/a";
        create(zk, p, PERSISTENT);
        Events data = new Events();
        Events kids = new Events();
        zk.getData(p, data, null);
        zk.getChildren(p, kids);
        zk.removeWatches(p, data, WatcherType.Data, false);
        data.expect(EventType.DataWatchRemoved, p);
        fails(Code.NOWATCHER, () -> zk.removeWatches(p, data, WatcherType.Data, false));
        fails(Code.NOWATCHER, () -> zk.removeWatches(p, data, WatcherType.Any, false));
        zk.setData(p, null, -1);
        create(zk, p + "/child", PERSISTENT);
        kids.expect(EventType.NodeChildrenChanged, p);
        settle(zk);
        data.expectNone();
    }

    @Test
    void removeOneOfTwoWatchers() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/a";
        create(zk, p, PERSISTENT);
        Events one = new Events();
        Events two = new Events();
        zk.getData(p, one, null);
        zk.getData(p, two, null);
        zk.removeWatches(p, one, WatcherType.Any, false);
        one.expect(EventType.DataWatchRemoved, p);
        zk.setData(p, null, -1);
        two.expect(EventType.NodeDataChanged, p);
        settle(zk);
        one.expectNone();
    }

    @Test
    void removeAllWatches() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/a";
        create(zk, p, PERSISTENT);
        Events one = new Events();
        Events two = new Events();
        zk.getData(p, one, null);
        zk.exists(p, two);
        zk.getChildren(p, two);
        zk.removeAllWatches(p, WatcherType.Any, false);
        one.expect(EventType.DataWatchRemoved, p);
        zk.setData(p, null, -1);
        create(zk, p + "/child", PERSISTENT);
        settle(zk);
        one.expectNone();
        fails(Code.NOWATCHER, () -> zk.removeAllWatches(p, WatcherType.Any, false));
    }
}
