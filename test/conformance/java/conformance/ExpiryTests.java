package conformance;

import static org.apache.zookeeper.CreateMode.EPHEMERAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** When sessions expire, when they do not, and what goes with them. */
final class ExpiryTests extends Suite {
    private static final int SHORT = 2_000;

    /** Silence of the client: its ephemerals go, and it is told when it is back. */
    @Test
    void silentClientExpires() throws Exception {
        for (int member = 1; member <= 3; member++) {
            Control.Proxy proxy = control().proxy(member);
            Events lost = new Events();
            ZooKeeper zk = connect(proxy.address, SHORT, lost);
            String p = root() + "/" + member;
            create(zk, p, EPHEMERAL);
            ZooKeeper other = connect(member(1 + member % 3), LONG_SESSION, new Events());
            Events events = new Events();
            settle(other);
            other.exists(p, events);
            proxy.hold();
            long start = System.nanoTime();
            events.expect(EventType.NodeDeleted, p);
            // It was heard of less than a third of the timeout before the hold.
            long after = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
            check(after >= SHORT / 2, "expired after " + after + " ms, with a timeout of " + SHORT);
            proxy.open();
            lost.await(KeeperState.Expired);
            fails(Code.SESSIONEXPIRED, () -> zk.exists("/", false));
            fails(Code.SESSIONEXPIRED, () -> create(zk, root() + "/late", PERSISTENT));
            // The id and password are of no more use, anywhere.
            Events again = new Events();
            attach(connectString(), again, zk.getSessionId(), zk.getSessionPasswd());
            again.await(KeeperState.Expired);
        }
    }

    /** The connection broke, and nobody came back: the same. */
    @Test
    void closedSocketDoesNotEndTheSession() throws Exception {
        Control.Proxy proxy = control().proxy(2);
        Events lost = new Events();
        ZooKeeper zk = connect(proxy.address, SHORT, lost);
        String p = root() + "/eph";
        create(zk, p, EPHEMERAL);
        ZooKeeper other = connect(member(3), LONG_SESSION, new Events());
        Events events = new Events();
        settle(other);
        other.exists(p, events);
        long start = System.nanoTime();
        proxy.cut();
        events.expect(EventType.NodeDeleted, p);
        long after = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        check(after >= SHORT / 2, "expired " + after + " ms after the connection broke, with a timeout of " + SHORT);
        proxy.open();
        lost.await(KeeperState.Expired);
    }

    /** All ephemerals of a session go in one transaction. */
    @Test
    void ephemeralsGoTogether() throws Exception {
        Control.Proxy proxy = control().proxy(1);
        ZooKeeper zk = connect(proxy.address, SHORT, new Events());
        ZooKeeper other = connect(member(2), LONG_SESSION, new Events());
        List<String> parents = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            String parent = create(other, root() + "/" + i, PERSISTENT);
            parents.add(parent);
            create(zk, parent + "/eph", EPHEMERAL);
        }
        Events events = new Events();
        settle(other);
        other.exists(parents.get(19) + "/eph", events);
        proxy.cut();
        events.expect(EventType.NodeDeleted, parents.get(19) + "/eph");
        long zxid = stat(other, parents.get(0)).getPzxid();
        for (String parent : parents) {
            Stat stat = stat(other, parent);
            same(0, stat.getNumChildren(), "children of " + parent);
            same(zxid, stat.getPzxid(), "pzxid of " + parent);
        }
    }

    @Test
    void manySessionsExpire() throws Exception {
        Control.Proxy[] proxies = {control().proxy(1), control().proxy(2), control().proxy(3)};
        ZooKeeper other = connect();
        for (int i = 0; i < 30; i++) {
            create(connect(proxies[i % 3].address, SHORT, new Events()), root() + "/" + i, EPHEMERAL);
        }
        settle(other);
        same(30, other.getChildren(root(), false).size(), "ephemerals");
        for (Control.Proxy proxy : proxies) {
            proxy.cut();
        }
        eventually("all ephemerals go", () -> other.getChildren(root(), false).isEmpty());
    }

    /** A client that only pings keeps its session, and so does one that only reads. */
    @Test
    void quietClientsLive() throws Exception {
        // A machine that stands still expires sessions rightly: then try again.
        for (int attempt = 0; ; attempt++) {
            StallMeter meter = closing(new StallMeter());
            try {
                quietClients(root() + "/" + attempt);
                return;
            } catch (KeeperException.SessionExpiredException | AssertionError e) {
                if (meter.worstMillis() < SHORT / 4 || attempt == 5) {
                    throw e;
                }
            }
        }
    }

    private void quietClients(String prefix) throws Exception {
        List<ZooKeeper> clients = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            ZooKeeper zk = connect(member(1 + i % 3), SHORT, new Events());
            create(zk, prefix + i, EPHEMERAL);
            clients.add(zk);
        }
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(3 * SHORT);
        while (System.nanoTime() < end) {
            for (ZooKeeper reader : clients.subList(0, 3)) {
                retrying(() -> reader.getChildren("/", false));
            }
            Thread.sleep(50); // the pace of the readers
        }
        for (int i = 0; i < 6; i++) {
            ZooKeeper zk = clients.get(i);
            String node = prefix + i;
            same(zk.getSessionId(), retrying(() -> stat(zk, node)).getEphemeralOwner(), "owner");
            zk.close();
        }
    }

    /** Back before the timeout: nothing has happened, and the clock starts anew. */
    @Test
    void backInTime() throws Exception {
        Control.Proxy proxy = control().proxy(3);
        Events events = new Events();
        ZooKeeper zk = connect(proxy.address, 6_000, events);
        long id = zk.getSessionId();
        create(zk, root() + "/eph", EPHEMERAL);
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(8);
        int cuts = 0;
        while (System.nanoTime() < end) {
            proxy.cut();
            cuts++;
            events.await(KeeperState.Disconnected);
            proxy.open();
            events.await(KeeperState.SyncConnected);
            same(id, zk.getSessionId(), "session after " + cuts + " breaks");
        }
        same(id, stat(zk, root() + "/eph").getEphemeralOwner(), "owner after " + cuts + " breaks");
    }
}
