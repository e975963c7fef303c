package conformance;

import java.util.Arrays;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.admin.ZooKeeperAdmin;
import org.apache.zookeeper.client.ZKClientConfig;
import org.apache.zookeeper.data.Stat;

/** Clients change who belongs to the ensemble. */
final class ReconfigTests extends CuratorSuite {
    private static String line(ZooKeeperAdmin admin, int member) throws Exception {
        for (String line : text(admin.getConfig(false, new Stat())).split("\n")) {
            if (line.startsWith("server." + member + "=")) {
                return line;
            }
        }
        throw new AssertionError("no line for member " + member);
    }

    private static long version(byte[] config) {
        String text = text(config);
        return Long.parseLong(text.substring(text.indexOf("version=") + "version=".length()).trim(), 16);
    }

    /**
     * Refusals in their order, a change of role and back, and a member that leaves;
     * Curator, which knows one address only, follows. It is member 1 that changes:
     * ZooKeeper's leader, rarely the first, would take all connections with it.
     */
    @Test
    void membersComeAndGo() throws Exception {
        CuratorFramework follower = closing(CuratorFrameworkFactory.builder()
                .connectString(member(2))
                .sessionTimeoutMs(LONG_SESSION)
                .connectionTimeoutMs(15_000)
                .retryPolicy(new RetryNTimes(100, 100))
                .build());
        follower.start();
        check(follower.blockUntilConnected(PATIENCE_SECONDS, TimeUnit.SECONDS), "no connection");
        TreeSet<String> all = new TreeSet<>(Arrays.asList(connectString().split(",")));
        eventually("Curator knows all members", () -> known(follower).equals(all));

        Events events = new Events();
        ZooKeeperAdmin admin = closing(new ZooKeeperAdmin(member(2), LONG_SESSION, events, new ZKClientConfig()));
        events.await(KeeperState.SyncConnected);
        String first = line(admin, 1);
        String observer = first.replace(":participant", ":observer");
        fails(Code.NOAUTH, () -> admin.reconfigure(observer, null, null, -1, new Stat()));
        admin.addAuthInfo("digest", bytes("super:" + System.getenv("PASSWORD")));
        fails(Code.BADVERSION, () -> admin.reconfigure(observer, null, null, 77, new Stat()));
        fails(Code.BADARGUMENTS, () -> admin.reconfigure("server.4", null, null, -1, new Stat()));
        fails(Code.BADARGUMENTS, () -> admin.reconfigure("server.4=127.0.0.1:1:2", null, null, -1, new Stat()));
        fails(Code.BADARGUMENTS, () -> admin.reconfigure((String) null, "2,3", null, -1, new Stat()));
        fails(Code.BADVERSION, () -> admin.reconfigure((String) null, "2,3", null, 77, new Stat()));

        Stat stat = new Stat();
        byte[] config = admin.reconfigure(observer, null, null, -1, stat);
        check(text(config).contains(observer), "not an observer: " + text(config));
        same(version(config), stat.getMzxid(), "the version and the zxid of the change");
        same(text(config), text(admin.getConfig(false, new Stat())), "what is read afterwards");

        long before = version(config);
        config = admin.reconfigure(first, null, null, before, stat);
        check(text(config).contains(first), "not a participant again: " + text(config));
        check(version(config) > before, "the version did not rise");
        fails(Code.BADVERSION, () -> admin.reconfigure(observer, null, null, before, new Stat()));

        config = admin.reconfigure((String) null, "1", null, -1, stat);
        check(!text(config).contains("server.1="), "it has not left: " + text(config));
        TreeSet<String> left = new TreeSet<>(all);
        left.remove(member(1));
        eventually("Curator knows who is left", () -> known(follower).equals(left));
        create(admin, "/after", CreateMode.PERSISTENT);
    }

    private static TreeSet<String> known(CuratorFramework client) {
        return new TreeSet<>(Arrays.asList(client.getZookeeperClient().getCurrentConnectionString().split(",")));
    }
}
