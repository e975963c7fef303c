import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.retry.RetryForever;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * The candidate of ../main.go: what it holds with ZooKeeper's own client, and its elections with Curator's LeaderLatch
 * (elect) or LeaderSelector (select).
 */
final class Candidate {
    private static String hosts;
    private static int timeout;
    private static String path;
    private static String name;
    /** Ends the session. */
    private static AutoCloseable closing;

    private static synchronized void say(String what) {
        System.out.println(what);
        System.out.flush();
    }

    private static void said(WatchedEvent event, long session) {
        if (event.getType() != Watcher.Event.EventType.None) {
            return;
        }
        switch (event.getState()) {
            case SyncConnected:
                say("SESSION 0x" + Long.toHexString(session));
                break;
            case Disconnected:
                say("LOST");
                break;
            case Expired:
                say("EXPIRED");
                break;
            default:
                break;
        }
    }

    /** Holds the node in session after session. */
    private static void hold() throws Exception {
        LinkedBlockingQueue<Watcher.Event.KeeperState> states = new LinkedBlockingQueue<>();
        ZooKeeper[] zk = new ZooKeeper[1];
        Watcher watcher = event -> {
            synchronized (zk) {
                said(event, zk[0].getSessionId());
            }
            if (event.getType() == Watcher.Event.EventType.None) {
                states.add(event.getState());
            }
        };
        closing = () -> zk[0].close();
        while (true) {
            synchronized (zk) {
                zk[0] = new ZooKeeper(hosts, timeout, watcher);
            }
            boolean held = false;
            while (true) {
                Watcher.Event.KeeperState state = states.take();
                if (state == Watcher.Event.KeeperState.Expired) {
                    break;
                }
                while (state == Watcher.Event.KeeperState.SyncConnected && !held) {
                    try {
                        zk[0].create(path, name.getBytes(StandardCharsets.UTF_8), ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
                        held = true;
                    } catch (KeeperException.NodeExistsException e) {
                        Stat stat = zk[0].exists(path, false);
                        held = stat != null && stat.getEphemeralOwner() == zk[0].getSessionId();
                        Thread.sleep(100);
                    } catch (KeeperException.ConnectionLossException | KeeperException.SessionExpiredException e) {
                        break;
                    }
                }
            }
        }
    }

    private static CuratorFramework curator() {
        CuratorFramework client = CuratorFrameworkFactory.builder()
                .connectString(hosts)
                .sessionTimeoutMs(timeout)
                .connectionTimeoutMs(15_000)
                .retryPolicy(new RetryForever(200))
                // It would go on to the addresses in /zookeeper/config, which only pods can resolve.
                .ensembleTracker(false)
                .build();
        client.getCuratorListenable().addListener((c, event) -> {
            if (event.getWatchedEvent() != null) {
                said(event.getWatchedEvent(), c.getZookeeperClient().getZooKeeper().getSessionId());
            }
        });
        client.start();
        closing = client;
        return client;
    }

    private static void elect() throws Exception {
        LeaderLatch latch = new LeaderLatch(curator(), path, name);
        latch.addListener(new LeaderLatchListener() {
            @Override
            public void isLeader() {
                say("LEADS");
            }

            @Override
            public void notLeader() {
                say("FOLLOWS");
            }
        });
        latch.start();
    }

    private static void select() throws Exception {
        LeaderSelector selector = new LeaderSelector(curator(), path, new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework client) throws Exception {
                say("LEADS");
                // Until it is interrupted.
                Thread.sleep(Long.MAX_VALUE);
            }
        });
        selector.setId(name);
        selector.autoRequeue();
        selector.start();
    }

    public static void main(String[] args) throws Exception {
        hosts = args[0];
        timeout = Integer.parseInt(args[1]);
        path = args[3];
        name = args[4];
        Thread listener = new Thread(() -> {
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            try {
                for (String line = in.readLine(); line != null; line = in.readLine()) {
                    if (line.equals("close")) {
                        closing.close();
                        say("CLOSED");
                        Runtime.getRuntime().halt(0);
                    }
                }
            } catch (Exception e) {
                e.printStackTrace();
                Runtime.getRuntime().halt(1);
            }
        });
        listener.start();
        switch (args[2]) {
            case "hold":
                hold();
                break;
            case "elect":
                elect();
                break;
            case "select":
                select();
                break;
            default:
                throw new IllegalArgumentException(args[2]);
        }
    }
}
