package conformance;

import static org.apache.zookeeper.CreateMode.PERSISTENT;

import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.auth.DigestAuthenticationProvider;

/** Who may do what. */
final class AclTests extends Suite {
    private static final Id ANYONE = Ids.ANYONE_ID_UNSAFE;

    private static List<ACL> world(int perms) {
        return Arrays.asList(new ACL(perms, ANYONE));
    }

    private static Id digest(String userAndPassword) throws Exception {
        return new Id("digest", DigestAuthenticationProvider.generateDigest(userAndPassword));
    }

    private static void login(ZooKeeper zk, String userAndPassword) {
        zk.addAuthInfo("digest", bytes(userAndPassword));
    }

    /** Each permission allows its own operations and no others. */
    @Test
    void permissionsOfTheWorld() throws Exception {
        ZooKeeper zk = connect();
        ZooKeeper owner = connect();
        login(owner, "super:" + System.getenv("PASSWORD"));
        for (int perms : new int[] {0, Perms.READ, Perms.WRITE, Perms.CREATE, Perms.DELETE, Perms.ADMIN}) {
            String p = root() + "/" + perms;
            owner.create(p, bytes("x"), OPEN, PERSISTENT);
            owner.create(p + "/child", null, OPEN, PERSISTENT);
            owner.setACL(p, world(perms), -1);
            settle(zk);
            allowed(perms == Perms.READ, () -> zk.getData(p, false, null));
            allowed(perms == Perms.READ, () -> zk.getChildren(p, false));
            allowed(perms == Perms.READ, () -> zk.getChildren(p, false, new Stat()));
            allowed(perms == Perms.READ, () -> zk.getAllChildrenNumber(p));
            allowed(perms == Perms.READ || perms == Perms.ADMIN, () -> zk.getACL(p, null));
            allowed(perms == Perms.WRITE, () -> zk.setData(p, null, -1));
            allowed(perms == Perms.CREATE, () -> zk.create(p + "/new", null, OPEN, PERSISTENT));
            allowed(perms == Perms.DELETE, () -> zk.delete(p + "/child", -1));
            allowed(perms == Perms.ADMIN, () -> zk.setACL(p, world(Perms.ADMIN), -1));
            check(stat(zk, p) != null, "exists needs no permission");
            // To delete a node takes a permission on its parent only.
            owner.setACL(p, OPEN, -1);
            for (String child : owner.getChildren(p, false)) {
                owner.delete(p + "/" + child, -1);
            }
            owner.setACL(p, world(perms), -1);
            zk.delete(p, -1);
        }
    }

    private static void allowed(boolean want, Action action) throws Exception {
        if (want) {
            action.run();
        } else {
            fails(Code.NOAUTH, action);
        }
    }

    @Test
    void digestUsers() throws Exception {
        ZooKeeper alice = connect();
        ZooKeeper bob = connect();
        String p = root() + "/hers";
        login(alice, "alice:wonder");
        alice.create(p, bytes("secret"), Arrays.asList(new ACL(Perms.ALL, digest("alice:wonder")), new ACL(Perms.READ, digest("bob:builder"))), PERSISTENT);
        settle(bob);
        fails(Code.NOAUTH, () -> read(bob, p));
        login(bob, "bob:wrong");
        fails(Code.NOAUTH, () -> read(bob, p));
        // A second identity adds to the first.
        login(bob, "bob:builder");
        same("secret", read(bob, p), "read with the right password");
        fails(Code.NOAUTH, () -> bob.setData(p, null, -1));
        alice.setData(p, bytes("changed"), -1);
    }

    /** Hashes are shown only to those who administer the node. */
    @Test
    void hashesAreHidden() throws Exception {
        ZooKeeper alice = connect();
        ZooKeeper reader = connect();
        String p = root() + "/n";
        login(alice, "alice:wonder");
        List<ACL> acl = Arrays.asList(new ACL(Perms.ALL, digest("alice:wonder")), new ACL(Perms.READ, ANYONE));
        alice.create(p, null, acl, PERSISTENT);
        settle(reader);
        same(acl, alice.getACL(p, null), "as the administrator sees it");
        List<ACL> hidden = Arrays.asList(new ACL(Perms.ALL, new Id("digest", "alice:x")), new ACL(Perms.READ, ANYONE));
        same(hidden, reader.getACL(p, null), "as a reader sees it");
    }

    /** The scheme "auth" stands for everybody that the creator is. */
    @Test
    void creatorAll() throws Exception {
        ZooKeeper zk = connect();
        login(zk, "a:1");
        login(zk, "b:2");
        String p = root() + "/n";
        zk.create(p, null, Ids.CREATOR_ALL_ACL, PERSISTENT);
        Set<ACL> want = Set.of(new ACL(Perms.ALL, digest("a:1")), new ACL(Perms.ALL, digest("b:2")));
        same(want, new HashSet<>(zk.getACL(p, null)), "ACL");
        ZooKeeper b = connect();
        login(b, "b:2");
        settle(b);
        b.setData(p, null, -1);
        ZooKeeper nobody = connect();
        settle(nobody);
        fails(Code.NOAUTH, () -> nobody.setData(p, null, -1));
        fails(Code.INVALIDACL, () -> nobody.create(root() + "/m", null, Ids.CREATOR_ALL_ACL, PERSISTENT));
    }

    @Test
    void superUser() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/closed";
        zk.create(p, bytes("x"), Arrays.asList(new ACL(Perms.ALL, new Id("digest", "nobody:nothing"))), PERSISTENT);
        fails(Code.NOAUTH, () -> read(zk, p));
        login(zk, "super:wrong");
        fails(Code.NOAUTH, () -> read(zk, p));
        login(zk, "super:" + System.getenv("PASSWORD"));
        same("x", read(zk, p), "read as super");
        zk.setACL(p, OPEN, -1);
        same(OPEN, zk.getACL(p, null), "ACL set by super");
    }

    @Test
    void addresses() throws Exception {
        ZooKeeper zk = connect();
        zk.create(root() + "/me", bytes("x"), Arrays.asList(new ACL(Perms.READ, new Id("ip", "127.0.0.1"))), PERSISTENT);
        zk.create(root() + "/net", bytes("x"), Arrays.asList(new ACL(Perms.READ, new Id("ip", "127.0.0.0/8"))), PERSISTENT);
        zk.create(root() + "/other", bytes("x"), Arrays.asList(new ACL(Perms.READ, new Id("ip", "10.0.0.0/8"))), PERSISTENT);
        read(zk, root() + "/me");
        read(zk, root() + "/net");
        fails(Code.NOAUTH, () -> read(zk, root() + "/other"));
        for (String bad : List.of("127.0.0.0/33", "127.0.0.0/-1", "1.2.3", "not an address")) {
            fails(Code.INVALIDACL, () -> zk.create(root() + "/bad", null, Arrays.asList(new ACL(Perms.READ, new Id("ip", bad))), PERSISTENT));
        }
    }

    @Test
    void setAclVersions() throws Exception {
        ZooKeeper zk = connect();
        String p = root() + "/n";
        create(zk, p, PERSISTENT);
        Stat before = stat(zk, p);
        Events events = new Events();
        zk.getData(p, events, null);
        Stat after = zk.setACL(p, world(Perms.ALL & ~Perms.DELETE), 0);
        same(1, after.getAversion(), "aversion");
        before.setAversion(1);
        same(before, after, "the rest of the stat");
        Stat got = new Stat();
        same(world(Perms.ALL & ~Perms.DELETE), zk.getACL(p, got), "ACL");
        same(after, got, "stat of getACL");
        fails(Code.BADVERSION, () -> zk.setACL(p, OPEN, 0));
        same(2, zk.setACL(p, OPEN, -1).getAversion(), "aversion");
        settle(zk);
        events.expectNone();
        zk.setData(p, null, 0);
    }

    @Test
    void invalidAcls() throws Exception {
        ZooKeeper zk = connect();
        create(zk, root() + "/n", PERSISTENT);
        for (Id id : List.of(new Id("nosuch", "x"), new Id("digest", "nocolon"), new Id("world", "some"), new Id("digest", "a:b:c"), new Id("auth", ""))) {
            List<ACL> acl = Arrays.asList(new ACL(Perms.ALL, id));
            fails(Code.INVALIDACL, () -> zk.create(root() + "/bad", null, acl, PERSISTENT));
            fails(Code.INVALIDACL, () -> zk.setACL(root() + "/n", acl, -1));
        }
        // One bad entry spoils the list.
        fails(Code.INVALIDACL, () -> zk.setACL(root() + "/n", Arrays.asList(new ACL(Perms.ALL, ANYONE), new ACL(1, new Id("nosuch", "x"))), -1));
    }

    /** Permissions are the sum over all entries that match. */
    @Test
    void entriesAddUp() throws Exception {
        ZooKeeper zk = connect();
        login(zk, "u:p");
        String p = root() + "/n";
        zk.create(p, null, Arrays.asList(new ACL(Perms.READ, ANYONE), new ACL(Perms.WRITE, digest("u:p"))), PERSISTENT);
        zk.getData(p, false, null);
        zk.setData(p, null, -1);
        fails(Code.NOAUTH, () -> create(zk, p + "/c", PERSISTENT));
        same(2, zk.getACL(p, null).size(), "entries");
        // The same entry twice is kept once.
        zk.create(root() + "/twice", null, Arrays.asList(new ACL(Perms.ALL, ANYONE), new ACL(Perms.ALL, ANYONE)), PERSISTENT);
        same(OPEN, zk.getACL(root() + "/twice", null), "a repeated entry");
    }

    @Test
    void multiNeedsEveryPermission() throws Exception {
        ZooKeeper zk = connect();
        create(zk, root() + "/open", PERSISTENT);
        zk.create(root() + "/readonly", null, world(Perms.READ), PERSISTENT);
        try {
            zk.multi(List.of(
                    Op.setData(root() + "/open", bytes("new"), -1),
                    Op.check(root() + "/readonly", 0),
                    Op.setData(root() + "/readonly", null, -1)));
        } catch (KeeperException e) {
            same(Code.NOAUTH, e.code(), "error");
            same("x", read(zk, root() + "/open"), "data after the failure");
            return;
        }
        throw new AssertionError("it succeeded");
    }

    @Test
    void whoAmI() throws Exception {
        ZooKeeper zk = connect();
        same(List.of(new ClientInfo("ip", "127.0.0.1")), zk.whoAmI(), "without login");
        login(zk, "alice:wonder");
        same(Set.of(new ClientInfo("ip", "127.0.0.1"), new ClientInfo("digest", "alice")), new HashSet<>(zk.whoAmI()), "with one");
        login(zk, "super:" + System.getenv("PASSWORD"));
        Set<ClientInfo> all = new HashSet<>(zk.whoAmI());
        check(all.contains(new ClientInfo("digest", "alice")), "alice is missing in " + all);
        check(all.contains(new ClientInfo("super", "")), "super is missing in " + all);
    }

    /** An unknown scheme: told to the watcher, and the handle is of no more use. */
    @Test
    void failedAuthentication() throws Exception {
        Events events = new Events();
        ZooKeeper zk = connect(connectString(), LONG_SESSION, events);
        zk.addAuthInfo("nosuch", bytes("x"));
        events.await(KeeperState.AuthFailed);
        fails(Code.AUTHFAILED, () -> zk.exists("/", false));
    }

    /** What a client said about itself, it says again after a reconnection. */
    @Test
    void loginSurvivesReconnection() throws Exception {
        Control.Proxy proxy = control().proxy(1);
        Events events = new Events();
        ZooKeeper zk = connect(proxy.address, LONG_SESSION, events);
        login(zk, "u:p");
        String p = root() + "/n";
        zk.create(p, bytes("x"), Ids.CREATOR_ALL_ACL, PERSISTENT);
        proxy.cut();
        events.await(KeeperState.Disconnected);
        proxy.open();
        events.await(KeeperState.SyncConnected);
        CountDownLatch read = new CountDownLatch(1);
        int[] code = {-1};
        zk.getData(p, false, (rc, path, ctx, data, stat) -> {
            code[0] = rc;
            read.countDown();
        }, null);
        check(read.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "no answer");
        same(Code.OK, Code.get(code[0]), "read after the reconnection");
    }
}
