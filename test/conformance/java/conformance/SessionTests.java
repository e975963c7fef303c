package conformance;

import static org.apache.zookeeper.CreateMode.EPHEMERAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** A session from its beginning to its close, and its moves between members. */
final class SessionTests extends Suite {
    @Test
    void timeoutIsNegotiated() throws Exception {
        // tickTime is 500 ms, so that the least is a second; the most is configured.
        int[][] askedAndGot = {{400, 1_000}, {999, 1_000}, {5_000, 5_000}, {60_001, 60_000}, {3_600_000, 60_000}};
        for (int[] pair : askedAndGot) {
            same(pair[1], connect(connectString(), pair[0], new Events()).getSessionTimeout(), "asked for " + pair[0]);
        }
    }

    @Test
    void idsAreUnique() throws Exception {
        Set<Long> ids = new HashSet<>();
        for (int i = 0; i < 30; i++) {
            try (ZooKeeper zk = connect(member(1 + i % 3), LONG_SESSION, new Events())) {
                check(ids.add(zk.getSessionId()), "a session id came twice");
                same(16, zk.getSessionPasswd().length, "length of the password");
            }
        }
    }

    /** Closing the handle removes the session's ephemerals before it returns. */
    @Test
    void closeRemovesEphemerals() throws Exception {
        ZooKeeper other = connect(member(2), LONG_SESSION, new Events());
        Events events = new Events();
        for (int i = 0; i < 5; i++) {
            ZooKeeper zk = connect(member(1), LONG_SESSION, new Events());
            create(zk, root() + "/a", EPHEMERAL);
            create(zk, root() + "/b", EPHEMERAL);
            settle(other);
            check(other.exists(root() + "/a", events) != null, "the ephemeral is not there");
            zk.close();
            settle(other);
            same(List.of(), other.getChildren(root(), false), "ephemerals after the close");
            events.expect(EventType.NodeDeleted, root() + "/a");
        }
    }

    @Test
    void closedHandleIsOfNoUse() throws Exception {
        ZooKeeper zk = connect();
        long id = zk.getSessionId();
        byte[] passwd = zk.getSessionPasswd();
        zk.close();
        fails(Code.SESSIONEXPIRED, () -> zk.exists("/", false));
        Events events = new Events();
        attach(connectString(), events, id, passwd);
        events.await(KeeperState.Expired);
    }

    /** A session goes on at another member, with its ephemerals. */
    @Test
    void reattachElsewhere() throws Exception {
        Control.Proxy proxy = control().proxy(1);
        Events lost = new Events();
        ZooKeeper old = connect(proxy.address, LONG_SESSION, lost);
        create(old, root() + "/eph", EPHEMERAL);
        proxy.cut();
        lost.await(KeeperState.Disconnected);
        for (int member = 2; member <= 3; member++) {
            Events events = new Events();
            ZooKeeper zk = attach(member(member), events, old.getSessionId(), old.getSessionPasswd());
            events.await(KeeperState.SyncConnected);
            same(old.getSessionId(), zk.getSessionId(), "session");
            same(zk.getSessionId(), stat(zk, root() + "/eph").getEphemeralOwner(), "owner");
            create(zk, root() + "/at-" + member, EPHEMERAL);
            if (member == 3) {
                zk.close();
            }
        }
        ZooKeeper other = connect(member(1), LONG_SESSION, new Events());
        settle(other);
        same(List.of(), other.getChildren(root(), false), "ephemerals after the close");
    }

    @Test
    void wrongPassword() throws Exception {
        Control.Proxy proxy = control().proxy(1);
        Events lost = new Events();
        ZooKeeper zk = connect(proxy.address, LONG_SESSION, lost);
        create(zk, root() + "/eph", EPHEMERAL);
        for (int member = 1; member <= 3; member++) {
            Events events = new Events();
            ZooKeeper thief = attach(member(member), events, zk.getSessionId(), new byte[16]);
            events.await(KeeperState.Expired);
            fails(Code.SESSIONEXPIRED, () -> thief.exists("/", false));
        }
        // The session itself lives.
        Stat stat = retrying(() -> stat(zk, root() + "/eph"));
        same(zk.getSessionId(), stat.getEphemeralOwner(), "owner after the attempts");
    }

    @Test
    void sessionThatNeverWas() throws Exception {
        Events events = new Events();
        attach(connectString(), events, 0x1234567890L, new byte[16]);
        events.await(KeeperState.Expired);
    }

    /** The handle that lost its session to another one is not served any more. */
    @Test
    void movedSession() throws Exception {
        ZooKeeper old = connect(member(1), LONG_SESSION, new Events());
        Events events = new Events();
        ZooKeeper fresh = attach(member(2), events, old.getSessionId(), old.getSessionPasswd());
        events.await(KeeperState.SyncConnected);
        create(fresh, root() + "/fresh", PERSISTENT);
        try {
            create(old, root() + "/old", PERSISTENT);
            throw new AssertionError("a write through the member that the session has left succeeded");
        } catch (KeeperException.ConnectionLossException | KeeperException.SessionMovedException e) {
            // Either will do: the handle connects again and takes the session back.
        }
        ZooKeeper third = connect(member(3), LONG_SESSION, new Events());
        settle(third);
        same(List.of("fresh"), third.getChildren(root(), false), "children");
    }

    /** The application does not notice a connection that breaks. */
    @Test
    void reconnection() throws Exception {
        Control.Proxy proxy = control().proxy(2);
        Events events = new Events();
        ZooKeeper zk = connect(proxy.address, LONG_SESSION, events);
        long id = zk.getSessionId();
        create(zk, root() + "/eph", EPHEMERAL);
        for (int round = 0; round < 2; round++) {
            proxy.cut();
            events.await(KeeperState.Disconnected);
            proxy.open();
            events.await(KeeperState.SyncConnected);
            same(id, zk.getSessionId(), "session");
            same(id, stat(zk, root() + "/eph").getEphemeralOwner(), "owner");
        }
    }

    /** A client that knows several members goes to another one by itself. */
    @Test
    void failover() throws Exception {
        Control.Proxy[] proxies = {control().proxy(1), control().proxy(2), control().proxy(3)};
        String all = proxies[0].address + "," + proxies[1].address + "," + proxies[2].address;
        Events events = new Events();
        ZooKeeper zk = connect(all, LONG_SESSION, events);
        long id = zk.getSessionId();
        create(zk, root() + "/eph", EPHEMERAL);
        Events data = new Events();
        zk.getData(root() + "/eph", data, null);
        for (Control.Proxy proxy : proxies) {
            // Only one of the three is its own.
            proxy.cut();
            same(id, retrying(() -> stat(zk, root() + "/eph")).getEphemeralOwner(), "owner");
            proxy.open();
        }
        zk.setData(root() + "/eph", null, -1);
        data.expect(EventType.NodeDataChanged, root() + "/eph");
    }

    /** What was under way when the connection broke is answered with its loss. */
    @Test
    void pendingRequestsWhenTheConnectionBreaks() throws Exception {
        Control.Proxy proxy = control().proxy(1);
        Events events = new Events();
        ZooKeeper zk = connect(proxy.address, LONG_SESSION, events);
        proxy.hold();
        final int count = 20;
        List<Code> codes = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch answered = new CountDownLatch(count);
        for (int i = 0; i < count; i++) {
            zk.create(root() + "/" + i, null, OPEN, PERSISTENT, (rc, path, ctx, name) -> {
                codes.add(Code.get(rc));
                answered.countDown();
            }, null);
        }
        proxy.cut();
        check(answered.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "not every request was answered");
        same(Collections.nCopies(count, Code.CONNECTIONLOSS), codes, "codes");
        proxy.open();
        events.await(KeeperState.SyncConnected);
        create(zk, root() + "/after", PERSISTENT);
    }

    /** Everything that a session asks for is answered in the order of asking. */
    @Test
    void pipelineIsInOrder() throws Exception {
        for (int member = 1; member <= 3; member++) {
            ZooKeeper zk = connect(member(member), LONG_SESSION, new Events());
            String p = root() + "/" + member;
            create(zk, p, PERSISTENT);
            final int rounds = 300;
            List<String> answers = Collections.synchronizedList(new ArrayList<>());
            CountDownLatch done = new CountDownLatch(rounds * 4);
            for (int i = 0; i < rounds; i++) {
                int n = i;
                zk.setData(p, bytes("" + n), n, (rc, path, ctx, stat) -> note(answers, done, "set " + n + " " + rc), null);
                zk.getData(p, false, (rc, path, ctx, data, stat) -> note(answers, done, "get " + text(data) + " " + rc), null);
                zk.create(p, null, OPEN, PERSISTENT, (rc, path, ctx, name) -> note(answers, done, "create " + n + " " + rc), null);
                zk.getChildren(p, false, (rc, path, ctx, children) -> note(answers, done, "list " + n + " " + rc), null);
            }
            check(done.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "not every request was answered");
            List<String> want = new ArrayList<>();
            for (int i = 0; i < rounds; i++) {
                want.addAll(List.of("set " + i + " 0", "get " + i + " 0", "create " + i + " -110", "list " + i + " 0"));
            }
            same(want, answers, "answers");
        }
    }

    private static void note(List<String> answers, CountDownLatch done, String answer) {
        answers.add(answer);
        done.countDown();
    }
}
