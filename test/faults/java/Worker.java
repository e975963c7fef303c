import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * A client that does one thing after another until it is killed, with
 * ZooKeeper's own library. What it did and what it was answered is noted on the
 * wire; it prints a line for each write that was acknowledged.
 *
 * Arguments: servers, name, session timeout in milliseconds, seed.
 */
final class Worker {
    private final String servers;
    private final String name;
    private final int timeout;
    private final Random random;
    private final ArrayDeque<String> mine = new ArrayDeque<>();
    private ZooKeeper zk;
    private int number;

    private Worker(String[] args) {
        servers = args[0];
        name = args[1];
        timeout = Integer.parseInt(args[2]);
        random = new Random(Long.parseLong(args[3]));
    }

    public static void main(String[] args) throws Exception {
        new Worker(args).run();
    }

    private void run() throws Exception {
        while (true) {
            if (zk == null || !zk.getState().isAlive()) {
                // The session has ended, and its nodes with it.
                mine.clear();
                zk = new ZooKeeper(servers, timeout, event -> { });
            }
            try {
                if (act()) {
                    System.out.println("w");
                    System.out.flush();
                }
            } catch (KeeperException e) {
                // It is in the history.
            }
            Thread.sleep(random.nextInt(20)); // the pace of the load
        }
    }

    /** Does something; tells whether it was a write. */
    private boolean act() throws KeeperException, InterruptedException {
        String value = name + "-" + number++;
        String key = "/reg/k" + random.nextInt(8);
        byte[] data = value.getBytes(StandardCharsets.UTF_8);
        int p = random.nextInt(100);
        if (p < 12) {
            zk.setData(key, data, -1);
        } else if (p < 24) {
            Stat stat = new Stat();
            zk.getData(key, false, stat);
            zk.setData(key, data, stat.getVersion());
        } else if (p < 32) {
            zk.create(key, data, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT, new Stat());
        } else if (p < 35) {
            zk.delete(key, -1);
        } else if (p < 43) {
            String pair = "/reg/p" + random.nextInt(3);
            zk.multi(List.of(Op.setData(pair + "a", data, -1), Op.setData(pair + "b", data, random.nextInt(4) == 0 ? 1 << 30 : -1)));
        } else if (p < 50) {
            zk.create("/log/e-", data, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL);
        } else if (p < 56) {
            mine.add(zk.create("/eph/" + value, null, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL));
        } else if (p < 60 && !mine.isEmpty()) {
            zk.delete(mine.remove(), -1);
        } else {
            look(key);
            return false;
        }
        return true;
    }

    private void look(String key) throws KeeperException, InterruptedException {
        if (random.nextInt(3) > 0) {
            CountDownLatch done = new CountDownLatch(1);
            zk.sync("/", (rc, path, ctx) -> done.countDown(), null);
            done.await();
        }
        switch (random.nextInt(6)) {
            case 0, 1 -> zk.getData(key, true, null);
            case 2 -> zk.getData("/reg/p0" + (random.nextBoolean() ? "a" : "b"), false, null);
            case 3 -> zk.exists(key, true);
            case 4 -> zk.getChildren("/eph", true);
            default -> zk.getChildren("/reg", true, new Stat());
        }
    }
}
