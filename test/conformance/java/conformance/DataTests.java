package conformance;

import static org.apache.zookeeper.CreateMode.EPHEMERAL;
import static org.apache.zookeeper.CreateMode.PERSISTENT;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.admin.ZooKeeperAdmin;
import org.apache.zookeeper.client.ZKClientConfig;
import org.apache.zookeeper.data.Stat;

/** Reading, writing, deleting, and what the stats say about it. */
final class DataTests extends Suite {
    @Test
    void setDataVersions() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/v";
        Stat created = new Stat();
        zk.create(p, bytes("0"), OPEN, PERSISTENT, created);
        for (int version = 0; version < 5; version++) {
            Stat stat = zk.setData(p, bytes("value " + version), version % 2 == 0 ? version : -1);
            same(version + 1, stat.getVersion(), "version");
            same(created.getCzxid(), stat.getCzxid(), "czxid");
            same(created.getCtime(), stat.getCtime(), "ctime");
            same(created.getPzxid(), stat.getPzxid(), "pzxid");
            check(stat.getMzxid() > created.getCzxid(), "mzxid does not grow");
            check(stat.getMtime() >= created.getMtime(), "mtime goes back");
            same(7, stat.getDataLength(), "dataLength");
            Stat read = new Stat();
            same("value " + version, text(zk.getData(p, false, read)), "data");
            same(stat, read, "stat of getData");
            same(stat, zk.exists(p, false), "stat of exists");
        }
        fails(Code.BADVERSION, () -> zk.setData(p, null, 4));
        fails(Code.BADVERSION, () -> zk.setData(p, null, 6));
        same("value 4", read(zk, p), "data after failures");
        fails(Code.NONODE, () -> zk.setData(root() + "/no", null, -1));
    }

    @Test
    void delete() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/a";
        create(zk, p, PERSISTENT);
        create(zk, p + "/b", PERSISTENT);
        fails(Code.NOTEMPTY, () -> zk.delete(p, -1));
        fails(Code.BADVERSION, () -> zk.delete(p + "/b", 3));
        zk.delete(p + "/b", 0);
        fails(Code.NONODE, () -> zk.delete(p + "/b", -1));
        zk.delete(p, -1);
        same(null, stat(zk, p), "exists after delete");
        for (String reserved : List.of("/zookeeper", "/zookeeper/config", "/zookeeper/quota")) {
            fails(Code.BADARGUMENTS, () -> zk.delete(reserved, -1));
        }
        // The client turns the root away itself, or the server does.
        fails(Code.BADARGUMENTS, () -> zk.delete("/", -1));
    }

    /** What a child's comings and goings do to its parent. */
    @Test
    void parentStat() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/p";
        create(zk, p, PERSISTENT);
        Stat before = stat(zk, p);
        Stat child = new Stat();
        zk.create(p + "/a", null, OPEN, PERSISTENT, child);
        Stat after = stat(zk, p);
        same(1, after.getCversion(), "cversion after a create");
        same(1, after.getNumChildren(), "numChildren after a create");
        same(child.getCzxid(), after.getPzxid(), "pzxid after a create");
        same(before.getMzxid(), after.getMzxid(), "mzxid after a create");
        same(before.getMtime(), after.getMtime(), "mtime after a create");
        same(0, after.getVersion(), "version after a create");

        zk.setData(p + "/a", bytes("new"), -1);
        same(after, stat(zk, p), "stat after a child's setData");
        create(zk, p + "/a/grandchild", PERSISTENT);
        same(after, stat(zk, p), "stat after a grandchild's create");
        zk.delete(p + "/a/grandchild", -1);

        zk.delete(p + "/a", -1);
        Stat gone = stat(zk, p);
        same(2, gone.getCversion(), "cversion after a delete");
        same(0, gone.getNumChildren(), "numChildren after a delete");
        check(gone.getPzxid() > after.getPzxid(), "pzxid does not move with a delete");
    }

    @Test
    void children() throws Exception {
        ZooKeeper zk = connect();
        String p = root();
        same(List.of(), zk.getChildren(p, false), "children of a leaf");
        List<String> want = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            create(zk, p + "/" + i, i % 2 == 0 ? PERSISTENT : EPHEMERAL);
            want.add("" + i);
        }
        create(zk, p + "/0/deep", PERSISTENT);
        create(zk, p + "/0/deep/deeper", PERSISTENT);
        Collections.sort(want);
        List<String> got = zk.getChildren(p, false);
        Collections.sort(got);
        same(want, got, "children");
        Stat stat = new Stat();
        got = zk.getChildren(p, false, stat);
        Collections.sort(got);
        same(want, got, "children with stat");
        same(stat(zk, p), stat, "stat of the parent");
        same(20, stat.getNumChildren(), "numChildren");
        same(22, zk.getAllChildrenNumber(p), "all children");
        same(0, zk.getAllChildrenNumber(p + "/1"), "all children of a leaf");
        fails(Code.NONODE, () -> zk.getChildren(p + "/no", false));
        fails(Code.NONODE, () -> zk.getChildren(p + "/no", false, new Stat()));
        fails(Code.NONODE, () -> zk.getAllChildrenNumber(p + "/no"));
        // A name that only begins alike is not below.
        create(zk, p + "/00", PERSISTENT);
        same(2, zk.getAllChildrenNumber(p + "/0"), "all children of 0 beside 00");
    }

    @Test
    void ephemeralsOfTheSession() throws Exception {
        ZooKeeper zk = connect();
        ZooKeeper other = connect();
        same(List.of(), zk.getEphemerals(), "none yet");
        String p = root();
        create(zk, p + "/dir", PERSISTENT);
        create(zk, p + "/dir/mine", EPHEMERAL);
        create(zk, p + "/mine", EPHEMERAL);
        create(other, p + "/dir/theirs", EPHEMERAL);
        List<String> got = zk.getEphemerals();
        Collections.sort(got);
        same(List.of(p + "/dir/mine", p + "/mine"), got, "all of the session's");
        same(List.of(p + "/dir/mine"), zk.getEphemerals(p + "/dir"), "below a path");
        same(List.of(p + "/mine"), zk.getEphemerals(p + "/mi"), "by a prefix that ends within a name");
        same(List.of(), zk.getEphemerals(p + "/no"), "below a path that is not there");
        zk.delete(p + "/mine", -1);
        same(List.of(p + "/dir/mine"), zk.getEphemerals(), "after a delete");
    }

    /** An ephemeral stays its session's when somebody else writes to it. */
    @Test
    void ephemeralKeepsItsOwner() throws Exception {
        ZooKeeper owner = connect();
        ZooKeeper other = connect();
        String p = root() + "/eph";
        create(owner, p, EPHEMERAL);
        same(owner.getSessionId(), other.setData(p, bytes("theirs"), -1).getEphemeralOwner(), "owner after somebody's setData");
        other.setACL(p, Ids.READ_ACL_UNSAFE, -1);
        same(owner.getSessionId(), stat(other, p).getEphemeralOwner(), "owner after somebody's setACL");
        owner.close();
        settle(other);
        same(null, stat(other, p), "the ephemeral after its session");
    }

    /** Curator's EnsembleTracker and others parse this node. */
    @Test
    void config() throws Exception {
        ZooKeeper zk = connect();
        Stat stat = new Stat();
        String config = text(zk.getConfig(false, stat));
        String[] members = connectString().split(",");
        for (int i = 0; i < members.length; i++) {
            String host = members[i].split(":")[0];
            String want = "server." + (i + 1) + "=" + host + ":2888:3888:participant;" + members[i];
            check(List.of(config.split("\n")).contains(want), "no line \"" + want + "\" in:\n" + config);
        }
        check(config.matches("(?s).*\\bversion=[0-9a-f]+\\s*"), "no version in hexadecimal at the end of:\n" + config);
        same(config, read(zk, "/zookeeper/config"), "the node's data");
        same(Ids.READ_ACL_UNSAFE, zk.getACL("/zookeeper/config", null), "its ACL");
        fails(Code.NOAUTH, () -> zk.setData("/zookeeper/config", null, -1));
    }

    @Test
    void reconfigIsDisabled() throws Exception {
        Events events = new Events();
        try (ZooKeeperAdmin admin = new ZooKeeperAdmin(connectString(), LONG_SESSION, events, new ZKClientConfig())) {
            events.await(KeeperState.SyncConnected);
            fails(Code.RECONFIGDISABLED, () -> admin.reconfigure((String) null, "3", null, -1, null));
            admin.addAuthInfo("digest", bytes("super:" + System.getenv("PASSWORD")));
            fails(Code.RECONFIGDISABLED, () -> admin.reconfigure("server.4=127.0.0.1:1:2;3", null, null, -1, null));
        }
    }

    @Test
    void systemNodes() throws Exception {
        ZooKeeper zk = connect();
        List<String> below = zk.getChildren("/zookeeper", false);
        check(below.contains("config") && below.contains("quota"), "children of /zookeeper: " + below);
        check(zk.getChildren("/", false).contains("zookeeper"), "the root does not list /zookeeper");
        same(Ids.OPEN_ACL_UNSAFE, zk.getACL("/", null), "the root's ACL");
    }

    /** Own writes are seen at once, and others' after a sync. */
    @Test
    void readYourWrites() throws Exception {
        // ZooKeeper's leader answers a sync before it has applied what its followers have.
        List<Integer> members = new ArrayList<>(List.of(1, 2, 3));
        if (!"conclave".equals(System.getenv("TARGET"))) {
            members.remove(Integer.valueOf(control().leader()));
        }
        List<ZooKeeper> clients = new ArrayList<>();
        for (int member : members) {
            clients.add(connect(member(member), LONG_SESSION, new Events()));
        }
        String p = root() + "/x";
        create(clients.get(0), p, PERSISTENT);
        for (int i = 0; i < 60; i++) {
            ZooKeeper writer = clients.get(i % clients.size());
            writer.setData(p, bytes("" + i), -1);
            same("" + i, read(writer, p), "own write");
            ZooKeeper reader = clients.get((i + 1) % clients.size());
            CountDownLatch synced = new CountDownLatch(1);
            reader.sync(p, (rc, path, ctx) -> synced.countDown(), null);
            // Behind the sync on the same connection: no need to wait for it.
            same("" + i, read(reader, p), "after a sync");
            check(synced.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the sync was not answered");
        }
    }
}
