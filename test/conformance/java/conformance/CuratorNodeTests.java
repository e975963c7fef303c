package conformance;

import java.io.ByteArrayInputStream;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.api.transaction.OperationType;
import org.apache.curator.framework.imps.EnsembleTracker;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.quorum.flexible.QuorumMaj;
import org.apache.zookeeper.server.quorum.flexible.QuorumVerifier;

/** Nodes that come back, groups, transactions, and what the framework does itself. */
final class CuratorNodeTests extends CuratorSuite {
    /** The node is made again in the next session. */
    @Test
    void persistentEphemeralNode() throws Exception {
        Control.Proxy proxy = control().proxy(1);
        CuratorFramework client = curator(proxy.address, 2_000);
        PersistentNode node = closing(new PersistentNode(client, CreateMode.EPHEMERAL, false, root() + "/node", bytes("here")));
        node.start();
        check(node.waitForInitialCreate(PATIENCE_SECONDS, TimeUnit.SECONDS), "not created");
        CuratorFramework other = curator(member(2), LONG_SESSION);
        catchUp(other);
        long first = other.checkExists().forPath(root() + "/node").getEphemeralOwner();
        proxy.cut();
        eventually("the node goes with its session", () -> other.checkExists().forPath(root() + "/node") == null);
        proxy.open();
        eventually("the node is back in another session", () -> {
            Stat stat = other.checkExists().forPath(root() + "/node");
            return stat != null && stat.getEphemeralOwner() != first;
        });
        // Deleted by somebody else: it comes back as well.
        long czxid = other.checkExists().forPath(root() + "/node").getCzxid();
        other.delete().forPath(root() + "/node");
        eventually("the node is back after a delete", () -> {
            Stat stat = other.checkExists().forPath(root() + "/node");
            return stat != null && stat.getCzxid() > czxid;
        });
        node.setData(bytes("changed"));
        eventually("the data has changed", () -> Arrays.equals(bytes("changed"), other.getData().forPath(root() + "/node")));
    }

    /** With "protection" the name carries an id, by which a lost reply is found again. */
    @Test
    void protectedSequentialNode() throws Exception {
        PersistentNode node = closing(new PersistentNode(curator(), CreateMode.EPHEMERAL_SEQUENTIAL, true, root() + "/node-", bytes("x")));
        node.start();
        check(node.waitForInitialCreate(PATIENCE_SECONDS, TimeUnit.SECONDS), "not created");
        check(node.getActualPath().matches(root() + "/_c_[-0-9a-f]{36}-node-\\d{10}"), "path " + node.getActualPath());
    }

    /** The node stays as long as it is touched, and goes when nobody does any more. */
    @Test
    void persistentTtlNode() throws Exception {
        CuratorFramework other = curator();
        String path = root() + "/node";
        try (PersistentTtlNode node = new PersistentTtlNode(curator(), path, 1_500, bytes("x"))) {
            node.start();
            check(node.waitForInitialCreate(PATIENCE_SECONDS, TimeUnit.SECONDS), "not created");
            eventually("the touching goes on", () -> {
                Stat touch = other.checkExists().forPath(path + "/" + PersistentTtlNode.DEFAULT_CHILD_NODE_NAME);
                return touch != null && touch.getVersion() >= 3;
            });
        }
        eventually("the node is reaped", () -> other.checkExists().forPath(path) == null);
    }

    @Test
    void groupMember() throws Exception {
        GroupMember one = closing(new GroupMember(curator(member(1), LONG_SESSION), root() + "/group", "one", bytes("1")));
        GroupMember two = new GroupMember(curator(member(2), LONG_SESSION), root() + "/group", "two", bytes("2"));
        one.start();
        two.start();
        eventually("both see both", () -> Set.of("one", "two").equals(one.getCurrentMembers().keySet())
                && Set.of("one", "two").equals(two.getCurrentMembers().keySet()));
        eventually("the data of the other", () -> Arrays.equals(bytes("2"), one.getCurrentMembers().get("two")));
        two.setThisData(bytes("22"));
        eventually("the new data of the other", () -> Arrays.equals(bytes("22"), one.getCurrentMembers().get("two")));
        two.close();
        eventually("one is alone", () -> Set.of("one").equals(one.getCurrentMembers().keySet()));
    }

    /** Curator reads the ensemble's members from /zookeeper/config and connects to them. */
    @Test
    void ensembleTracker() throws Exception {
        CuratorFramework client = closing(CuratorFrameworkFactory.builder()
                .connectString(member(2)).sessionTimeoutMs(LONG_SESSION).connectionTimeoutMs(15_000)
                .retryPolicy(new RetryNTimes(10, 100)).ensembleTracker(true).build());
        client.start();
        check(client.blockUntilConnected(PATIENCE_SECONDS, TimeUnit.SECONDS), "no connection");
        Set<String> want = new TreeSet<>(List.of(connectString().split(",")));
        eventually("all members are known", () ->
                want.equals(new TreeSet<>(List.of(client.getZookeeperClient().getCurrentConnectionString().split(",")))));
        Properties properties = new Properties();
        properties.load(new ByteArrayInputStream(client.getConfig().forEnsemble()));
        same(4, properties.size(), "lines of the configuration");
        same(want, new TreeSet<>(List.of(EnsembleTracker.configToConnectionString(verifier(properties)).split(","))), "parsed from the configuration");
    }

    private static QuorumVerifier verifier(Properties properties) throws Exception {
        return new QuorumMaj(properties);
    }

    @Test
    void transactions() throws Exception {
        CuratorFramework client = curator();
        Collection<CuratorTransactionResult> results = client.transaction().forOperations(
                client.transactionOp().create().forPath(root() + "/a", bytes("1")),
                client.transactionOp().create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath(root() + "/s", null),
                client.transactionOp().setData().withVersion(0).forPath(root() + "/a", bytes("2")),
                client.transactionOp().check().withVersion(1).forPath(root() + "/a"),
                client.transactionOp().delete().forPath(root() + "/a"));
        OperationType[] kinds = results.stream().map(CuratorTransactionResult::getType).toArray(OperationType[]::new);
        same(List.of(OperationType.CREATE, OperationType.CREATE, OperationType.SET_DATA, OperationType.CHECK, OperationType.DELETE), List.of(kinds), "kinds");
        fails(Code.BADVERSION, () -> client.transaction().forOperations(
                client.transactionOp().create().forPath(root() + "/b", bytes("1")),
                client.transactionOp().check().withVersion(7).forPath(root() + "/b")));
        same(null, client.checkExists().forPath(root() + "/b"), "created by the failed transaction");
    }

    /** The builders of the framework that go beyond one operation. */
    @Test
    void framework() throws Exception {
        CuratorFramework client = curator();
        String p = root();
        same(p + "/x/y/z", client.create().creatingParentContainersIfNeeded().forPath(p + "/x/y/z", bytes("1")), "created with parents");
        Stat stat = new Stat();
        same("1", text(client.getData().storingStatIn(stat).forPath(p + "/x/y/z")), "data");
        same(1, client.setData().withVersion(0).forPath(p + "/x/y/z", bytes("2")).getVersion(), "version");
        client.delete().guaranteed().forPath(p + "/x/y/z");
        eventually("the parents, being containers, go too", () -> client.checkExists().forPath(p + "/x") == null);
        String compressed = "compressible ".repeat(100);
        client.create().compressed().forPath(p + "/c", bytes(compressed));
        same(compressed, text(client.getData().decompressed().forPath(p + "/c")), "decompressed");
        check(client.checkExists().forPath(p + "/c").getDataLength() < 300, "not compressed");
        same(p + "/ttl", client.create().withTtl(3_600_000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath(p + "/ttl"), "TTL");
        CountDownLatch background = new CountDownLatch(2);
        client.create().inBackground((c, event) -> background.countDown()).forPath(p + "/bg");
        client.getChildren().inBackground((c, event) -> background.countDown()).forPath(p);
        check(background.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "no answer in the background");
        CuratorFramework space = client.usingNamespace(p.substring(1));
        same(List.of("bg", "c", "ttl"), space.getChildren().forPath("/").stream().sorted().toList(), "children within a namespace");
    }

    @Test
    void authorization() throws Exception {
        CuratorFramework owner = closing(CuratorFrameworkFactory.builder()
                .connectString(connectString()).sessionTimeoutMs(LONG_SESSION).retryPolicy(new RetryNTimes(10, 100))
                .authorization("digest", bytes("owner:secret")).ensembleTracker(false).build());
        owner.start();
        owner.create().withACL(Ids.CREATOR_ALL_ACL).forPath(root() + "/mine", bytes("x"));
        CuratorFramework other = curator();
        catchUp(other);
        try {
            other.getData().forPath(root() + "/mine");
            throw new AssertionError("it succeeded");
        } catch (KeeperException.NoAuthException e) {
            same("x", text(owner.getData().forPath(root() + "/mine")), "data as the owner reads it");
        }
    }
}
