package conformance;

import static org.apache.zookeeper.CreateMode.CONTAINER;
import static org.apache.zookeeper.CreateMode.EPHEMERAL;
import static org.apache.zookeeper.CreateMode.EPHEMERAL_SEQUENTIAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT;
import static org.apache.zookeeper.CreateMode.PERSISTENT_SEQUENTIAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT_WITH_TTL;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** Transactions of several operations, and several reads in one. */
final class MultiTests extends Suite {
    @Test
    void everyOperation() throws Exception {
        ZooKeeper zk = connect();
        String p = root();
        create(zk, p + "/old", PERSISTENT);
        List<OpResult> results = zk.multi(List.of(
                Op.create(p + "/a", bytes("1"), OPEN, PERSISTENT),
                Op.create(p + "/a/eph", null, OPEN, EPHEMERAL),
                Op.create(p + "/seq-", null, OPEN, PERSISTENT_SEQUENTIAL),
                Op.create(p + "/a/seq-", null, OPEN, EPHEMERAL_SEQUENTIAL),
                Op.create(p + "/container", null, OPEN, CONTAINER),
                Op.create(p + "/ttl", null, OPEN, PERSISTENT_WITH_TTL, 3_600_000),
                Op.setData(p + "/a", bytes("22"), 0),
                Op.check(p + "/a", 1),
                Op.delete(p + "/old", 0)));
        same(p + "/a", ((OpResult.CreateResult) results.get(0)).getPath(), "create");
        same(p + "/a/eph", ((OpResult.CreateResult) results.get(1)).getPath(), "ephemeral");
        same(p + "/seq-0000000002", ((OpResult.CreateResult) results.get(2)).getPath(), "sequential");
        same(p + "/a/seq-0000000001", ((OpResult.CreateResult) results.get(3)).getPath(), "ephemeral sequential");
        same(p + "/container", ((OpResult.CreateResult) results.get(4)).getPath(), "container");
        check(((OpResult.CreateResult) results.get(4)).getStat() != null, "container without stat");
        same(p + "/ttl", ((OpResult.CreateResult) results.get(5)).getPath(), "TTL");
        Stat set = ((OpResult.SetDataResult) results.get(6)).getStat();
        same(1, set.getVersion(), "version that setData gave");
        same(2, set.getDataLength(), "dataLength that setData gave");
        check(results.get(7) instanceof OpResult.CheckResult, "check gave " + results.get(7));
        check(results.get(8) instanceof OpResult.DeleteResult, "delete gave " + results.get(8));
        same(null, stat(zk, p + "/old"), "the deleted node");
        same(zk.getSessionId(), stat(zk, p + "/a/eph").getEphemeralOwner(), "the ephemeral's owner");
        same(stat(zk, p + "/a").getCzxid(), stat(zk, p + "/ttl").getCzxid(), "one zxid for all");
    }

    @Test
    void failureOfEachKind() throws Exception {
        ZooKeeper zk = connect();
        String p = root();
        create(zk, p + "/there", PERSISTENT);
        create(zk, p + "/eph", EPHEMERAL);
        Stat before = stat(zk, p);
        fails(zk, Code.NODEEXISTS, Op.create(p + "/there", null, OPEN, PERSISTENT));
        fails(zk, Code.NONODE, Op.create(p + "/no/way", null, OPEN, PERSISTENT));
        fails(zk, Code.NOCHILDRENFOREPHEMERALS, Op.create(p + "/eph/child", null, OPEN, PERSISTENT));
        fails(zk, Code.NONODE, Op.delete(p + "/no", -1));
        fails(zk, Code.BADVERSION, Op.delete(p + "/there", 3));
        fails(zk, Code.NOTEMPTY, Op.delete(p, -1));
        fails(zk, Code.NONODE, Op.setData(p + "/no", null, -1));
        fails(zk, Code.BADVERSION, Op.setData(p + "/there", null, 1));
        fails(zk, Code.NONODE, Op.check(p + "/no", 0));
        fails(zk, Code.BADVERSION, Op.check(p + "/there", 1));
        same(before, stat(zk, p), "stat of the parent after all failures");
    }

    /** Puts bad between two good operations and wants all to fail. */
    private void fails(ZooKeeper zk, Code code, Op bad) throws Exception {
        try {
            zk.multi(List.of(Op.create(root() + "/tmp", null, OPEN, PERSISTENT), bad, Op.delete(root() + "/tmp", -1)));
        } catch (KeeperException e) {
            same(code, e.code(), "the exception for " + bad);
            List<Code> codes = new ArrayList<>();
            for (OpResult result : e.getResults()) {
                codes.add(Code.get(((OpResult.ErrorResult) result).getErr()));
            }
            same(List.of(Code.OK, code, Code.RUNTIMEINCONSISTENCY), codes, "results with " + bad);
            same(null, stat(zk, root() + "/tmp"), "what was created before " + bad);
            return;
        }
        throw new AssertionError("a multi with " + bad + " succeeded");
    }

    @Test
    void asynchronous() throws Exception {
        ZooKeeper zk = connect();
        CountDownLatch done = new CountDownLatch(2);
        int[] codes = {-1, -1};
        List<?>[] results = new List<?>[2];
        for (int i = 0; i < 2; i++) {
            int which = i;
            zk.multi(List.of(Op.create(root() + "/a", null, OPEN, PERSISTENT), Op.create(root() + "/b", null, OPEN, PERSISTENT)),
                    (rc, path, ctx, opResults) -> {
                        codes[which] = rc;
                        results[which] = opResults;
                        done.countDown();
                    }, null);
        }
        check(done.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "no answer");
        same(Code.OK, Code.get(codes[0]), "the first");
        same(Code.NODEEXISTS, Code.get(codes[1]), "the second");
        same(2, results[1].size(), "its results");
    }

    @Test
    void transactionBuilder() throws Exception {
        ZooKeeper zk = connect();
        List<OpResult> results = zk.transaction()
                .create(root() + "/a", null, OPEN, PERSISTENT)
                .setData(root() + "/a", bytes("x"), 0)
                .check(root() + "/a", 1)
                .delete(root() + "/a", 1)
                .commit();
        same(4, results.size(), "results");
        same(null, stat(zk, root() + "/a"), "the node");
    }

    /** The watches that a transaction raises, and none when it fails. */
    @Test
    void watches() throws Exception {
        ZooKeeper zk = connect();
        String p = root();
        Events data = new Events();
        Events kids = new Events();
        create(zk, p + "/a", PERSISTENT);
        zk.getData(p + "/a", data, null);
        zk.getChildren(p, kids);
        try {
            zk.multi(List.of(Op.setData(p + "/a", null, -1), Op.create(p + "/b", null, OPEN, PERSISTENT), Op.check(p + "/a", 9)));
            throw new AssertionError("it succeeded");
        } catch (KeeperException.BadVersionException e) {
            settle(zk);
            data.expectNone();
            kids.expectNone();
        }
        zk.multi(List.of(Op.setData(p + "/a", null, -1), Op.create(p + "/b", null, OPEN, PERSISTENT)));
        data.expect(EventType.NodeDataChanged, p + "/a");
        kids.expect(EventType.NodeChildrenChanged, p);
    }

    @Test
    void reads() throws Exception {
        ZooKeeper zk = connect();
        String p = root();
        create(zk, p + "/a", PERSISTENT);
        create(zk, p + "/b", PERSISTENT);
        List<OpResult> results = zk.multi(List.of(
                Op.getData(p + "/a"), Op.getChildren(p), Op.getData(p + "/no"), Op.getChildren(p + "/no"), Op.getData(p + "/b")));
        same(5, results.size(), "results");
        OpResult.GetDataResult data = (OpResult.GetDataResult) results.get(0);
        same("x", text(data.getData()), "data");
        same(stat(zk, p + "/a"), data.getStat(), "stat");
        same(new TreeSet<>(List.of("a", "b")), new TreeSet<>(((OpResult.GetChildrenResult) results.get(1)).getChildren()), "children");
        same(Code.NONODE.intValue(), ((OpResult.ErrorResult) results.get(2)).getErr(), "getData of a missing node");
        same(Code.NONODE.intValue(), ((OpResult.ErrorResult) results.get(3)).getErr(), "getChildren of a missing node");
        check(results.get(4) instanceof OpResult.GetDataResult, "behind the errors: " + results.get(4));
    }

    @Test
    void empty() throws Exception {
        ZooKeeper zk = connect();
        same(List.of(), zk.multi(List.of()), "results of nothing");
        check(stat(zk, "/") != null, "the connection is of use");
    }

    /** All or nothing, as others see it. */
    @Test
    void atomicToReaders() throws Exception {
        ZooKeeper writer = connect(member(1), LONG_SESSION, new Events());
        ZooKeeper reader = connect(member(2), LONG_SESSION, new Events());
        String p = root();
        create(writer, p + "/a", PERSISTENT);
        create(writer, p + "/b", PERSISTENT);
        CountDownLatch written = new CountDownLatch(200);
        for (int i = 1; i <= 200; i++) {
            writer.multi(List.of(Op.setData(p + "/a", bytes("" + i), -1), Op.setData(p + "/b", bytes("" + i), -1)),
                    (rc, path, ctx, results) -> written.countDown(), null);
        }
        settle(reader);
        do {
            List<OpResult> both = reader.multi(List.of(Op.getData(p + "/a"), Op.getData(p + "/b")));
            Stat a = ((OpResult.GetDataResult) both.get(0)).getStat();
            Stat b = ((OpResult.GetDataResult) both.get(1)).getStat();
            // Later reads see at least as much: b may be ahead of a, not behind.
            check(a.getVersion() <= b.getVersion(), "read version " + a.getVersion() + " and then " + b.getVersion());
        } while (written.getCount() > 0);
        same("200", read(writer, p + "/a"), "a");
        same("200", read(writer, p + "/b"), "b");
    }
}
