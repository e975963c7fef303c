package conformance;

import static org.apache.zookeeper.CreateMode.EPHEMERAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT;

import java.util.List;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Quotas;
import org.apache.zookeeper.StatsTrack;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.cli.DelQuotaCommand;
import org.apache.zookeeper.cli.ListQuotaCommand;
import org.apache.zookeeper.cli.SetQuotaCommand;

/** Quotas, set and read by the code behind zkCli's commands. */
final class QuotaTests extends Suite {
    /** What the server counts below path. */
    private static StatsTrack usage(ZooKeeper zk, String path) throws Exception {
        return new StatsTrack(zk.getData(Quotas.statPath(path), false, null));
    }

    private static void used(ZooKeeper zk, String path, long count, long bytes) throws Exception {
        settle(zk);
        StatsTrack got = usage(zk, path);
        same(count + " nodes, " + bytes + " bytes", got.getCount() + " nodes, " + got.getBytes() + " bytes", "usage of " + path);
    }

    private static StatsTrack track(long count, long bytes, long countHard, long byteHard) {
        StatsTrack track = new StatsTrack();
        track.setCount(count);
        track.setBytes(bytes);
        track.setCountHardLimit(countHard);
        track.setByteHardLimit(byteHard);
        return track;
    }

    @Test
    void hardCount() throws Exception {
        ZooKeeper zk = connect();
        String q = root();
        check(SetQuotaCommand.createQuota(zk, q, track(-1, -1, 4, -1)), "createQuota refused");
        create(zk, q + "/a", PERSISTENT);
        create(zk, q + "/a/deep", PERSISTENT);
        create(zk, q + "/eph", EPHEMERAL); // the quota's own node counts, so that this is the fourth
        fails(Code.QUOTAEXCEEDED, () -> create(zk, q + "/b", PERSISTENT));
        fails(Code.QUOTAEXCEEDED, () -> create(zk, q + "/a/deep/er", PERSISTENT));
        zk.setData(q + "/a", bytes("more bytes are no matter"), -1);
        zk.delete(q + "/eph", -1);
        create(zk, q + "/b", PERSISTENT);
        fails(Code.QUOTAEXCEEDED, () -> create(zk, q + "/c", PERSISTENT));
    }

    @Test
    void hardBytes() throws Exception {
        ZooKeeper zk = connect();
        String q = root();
        zk.setData(q, bytes("1234"), -1);
        check(SetQuotaCommand.createQuota(zk, q, track(-1, -1, -1, 20)), "createQuota refused");
        zk.create(q + "/a", bytes("12345678"), OPEN, PERSISTENT);
        fails(Code.QUOTAEXCEEDED, () -> zk.create(q + "/b", bytes("123456789"), OPEN, PERSISTENT));
        zk.create(q + "/b", bytes("12345678"), OPEN, PERSISTENT); // 20 exactly
        fails(Code.QUOTAEXCEEDED, () -> zk.setData(q + "/a", bytes("123456789"), -1));
        fails(Code.QUOTAEXCEEDED, () -> zk.setData(q, bytes("12345"), -1));
        zk.setData(q + "/a", bytes("1"), -1);
        zk.setData(q + "/b", bytes("123456789012345"), -1);
        same("123456789012345", read(zk, q + "/b"), "data");
    }

    /** Soft limits are only logged. */
    @Test
    void softLimits() throws Exception {
        ZooKeeper zk = connect();
        String q = root();
        check(SetQuotaCommand.createQuota(zk, q, track(1, 2, -1, -1)), "createQuota refused");
        create(zk, q + "/a", PERSISTENT);
        zk.setData(q + "/a", bytes("a lot more than two"), -1);
        used(zk, q, 2, 19);
    }

    @Test
    void usageIsCounted() throws Exception {
        ZooKeeper zk = connect();
        String q = root();
        create(zk, q + "/before", PERSISTENT); // one byte
        check(SetQuotaCommand.createQuota(zk, q, track(100, 1000, -1, -1)), "createQuota refused");
        used(zk, q, 2, 1);
        zk.create(q + "/a", bytes("12345"), OPEN, PERSISTENT);
        used(zk, q, 3, 6);
        zk.setData(q + "/a", bytes("123"), -1);
        used(zk, q, 3, 4);
        zk.setData(q + "/a", null, -1);
        used(zk, q, 3, 1);
        zk.setData(q, bytes("12"), -1);
        used(zk, q, 3, 3);
        zk.delete(q + "/before", -1);
        used(zk, q, 2, 2);
        ZooKeeper other = connect();
        other.create(q + "/eph", bytes("1234"), OPEN, EPHEMERAL);
        used(zk, q, 3, 6);
        other.close();
        used(zk, q, 2, 2);
    }

    @Test
    void limitsAsStored() throws Exception {
        ZooKeeper zk = connect();
        String q = root();
        check(SetQuotaCommand.createQuota(zk, q, track(5, 6, 7, 8)), "createQuota refused");
        List<StatsTrack> tracks = ListQuotaCommand.listQuota(zk, q);
        same(new StatsTrack("count=5,bytes=6=;byteHardLimit=8;countHardLimit=7"), tracks.get(0), "limits");
        same("count=5,bytes=6=;byteHardLimit=8;countHardLimit=7", read(zk, Quotas.limitPath(q)), "text of the limits");
        same("/zookeeper/quota" + q + "/zookeeper_limits", Quotas.limitPath(q), "path of the limits");
        check(read(zk, Quotas.statPath(q)).matches("count=1,bytes=0(=;.*)?"), "text of the stats: " + read(zk, Quotas.statPath(q)));
    }

    @Test
    void raisedAndRemoved() throws Exception {
        ZooKeeper zk = connect();
        String q = root();
        SetQuotaCommand.createQuota(zk, q, track(-1, -1, 2, -1));
        create(zk, q + "/a", PERSISTENT);
        fails(Code.QUOTAEXCEEDED, () -> create(zk, q + "/b", PERSISTENT));
        SetQuotaCommand.createQuota(zk, q, track(-1, -1, 3, -1));
        create(zk, q + "/b", PERSISTENT);
        fails(Code.QUOTAEXCEEDED, () -> create(zk, q + "/c", PERSISTENT));
        check(DelQuotaCommand.delQuota(zk, q, null), "delQuota refused");
        create(zk, q + "/c", PERSISTENT);
        same(null, stat(zk, Quotas.quotaPath(q)), "the quota's node");
    }

    /** A quota that is already exceeded when it is set. */
    @Test
    void exceededFromTheStart() throws Exception {
        ZooKeeper zk = connect();
        String q = root();
        create(zk, q + "/a", PERSISTENT);
        create(zk, q + "/b", PERSISTENT);
        SetQuotaCommand.createQuota(zk, q, track(-1, -1, 1, 1));
        fails(Code.QUOTAEXCEEDED, () -> zk.create(q + "/c", null, OPEN, PERSISTENT));
        zk.setData(q + "/a", null, -1);
        zk.delete(q + "/a", -1);
        fails(Code.QUOTAEXCEEDED, () -> zk.create(q + "/c", null, OPEN, PERSISTENT));
    }

    @Test
    void inAMulti() throws Exception {
        ZooKeeper zk = connect();
        String q = root();
        create(zk, q + "/a", PERSISTENT);
        SetQuotaCommand.createQuota(zk, q, track(-1, -1, 2, -1));
        try {
            zk.multi(List.of(Op.setData(q + "/a", bytes("new"), -1), Op.create(q + "/b", null, OPEN, PERSISTENT)));
            throw new AssertionError("it succeeded");
        } catch (KeeperException.QuotaExceededException e) {
            same("x", read(zk, q + "/a"), "data after the failure");
        }
    }

    /** The operations of one transaction add up; ZooKeeper looks at each alone. */
    @Test(conclaveOnly = true)
    void multiAddsUp() throws Exception {
        ZooKeeper zk = connect();
        String q = root();
        SetQuotaCommand.createQuota(zk, q, track(-1, -1, 2, -1));
        fails(Code.QUOTAEXCEEDED, () -> zk.multi(List.of(Op.create(q + "/a", null, OPEN, PERSISTENT), Op.create(q + "/b", null, OPEN, PERSISTENT))));
        same(null, stat(zk, q + "/a"), "the first of the two");
    }

    /** A quota on one path is nothing to its neighbours. */
    @Test
    void neighbours() throws Exception {
        ZooKeeper zk = connect();
        String q = create(zk, root() + "/q", PERSISTENT);
        create(zk, root() + "/qq", PERSISTENT);
        SetQuotaCommand.createQuota(zk, q, track(-1, -1, 1, -1));
        fails(Code.QUOTAEXCEEDED, () -> create(zk, q + "/a", PERSISTENT));
        create(zk, root() + "/qq/a", PERSISTENT);
        create(zk, root() + "/other", PERSISTENT);
    }
}
