package conformance;

import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache.StartMode;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.zookeeper.Watcher.Event.EventType;

/** Caches of nodes and trees, on one-shot watches and on persistent ones. */
final class CuratorCacheTests extends CuratorSuite {
    /** A queue of texts, to be compared with what should happen. */
    private static final class Log {
        private final BlockingQueue<String> lines = new LinkedBlockingQueue<>();

        void add(String line) {
            lines.add(line);
        }

        /** Waits for line, passing over others. */
        void await(String line) throws InterruptedException {
            while (true) {
                String got = lines.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
                check(got != null, "\"" + line + "\" does not come");
                if (got.equals(line)) {
                    return;
                }
            }
        }

        void expect(String line) throws InterruptedException {
            same(line, lines.poll(PATIENCE_SECONDS, TimeUnit.SECONDS), "what happened next");
        }
    }

    @Test
    void nodeCache() throws Exception {
        CuratorFramework writer = curator(member(1), LONG_SESSION);
        NodeCache cache = closing(new NodeCache(curator(member(2), LONG_SESSION), root() + "/n"));
        cache.start(true);
        same(null, cache.getCurrentData(), "before the node is there");
        for (String value : new String[] {"a", "b", "c"}) {
            writer.create().orSetData().forPath(root() + "/n", bytes(value));
            eventually("the cache has " + value, () -> value.equals(text(cache.getCurrentData().getData())));
        }
        writer.delete().forPath(root() + "/n");
        eventually("the cache is empty", () -> cache.getCurrentData() == null);
    }

    @Test
    void pathChildrenCache() throws Exception {
        CuratorFramework writer = curator(member(1), LONG_SESSION);
        writer.create().forPath(root() + "/old", bytes("0"));
        CuratorFramework reader = curator(member(3), LONG_SESSION);
        catchUp(reader);
        PathChildrenCache cache = closing(new PathChildrenCache(reader, root(), true));
        Log log = new Log();
        cache.getListenable().addListener((client, event) -> log.add(event.getType() + (event.getData() == null ? "" : " " + event.getData().getPath())));
        cache.start(StartMode.POST_INITIALIZED_EVENT);
        log.await("INITIALIZED");
        same(1, cache.getCurrentData().size(), "children");
        writer.create().forPath(root() + "/new", bytes("1"));
        log.await("CHILD_ADDED " + root() + "/new");
        writer.setData().forPath(root() + "/new", bytes("2"));
        log.await("CHILD_UPDATED " + root() + "/new");
        same("2", text(cache.getCurrentData(root() + "/new").getData()), "cached data");
        writer.delete().forPath(root() + "/new");
        log.await("CHILD_REMOVED " + root() + "/new");
    }

    @Test
    void treeCache() throws Exception {
        CuratorFramework writer = curator(member(2), LONG_SESSION);
        TreeCache cache = closing(new TreeCache(curator(member(1), LONG_SESSION), root()));
        Log log = new Log();
        cache.getListenable().addListener((client, event) -> log.add(event.getType() + (event.getData() == null ? "" : " " + event.getData().getPath())));
        cache.start();
        log.await("INITIALIZED");
        writer.create().creatingParentsIfNeeded().forPath(root() + "/a/b/c", bytes("1"));
        log.await("NODE_ADDED " + root() + "/a/b/c");
        writer.setData().forPath(root() + "/a/b/c", bytes("2"));
        log.await("NODE_UPDATED " + root() + "/a/b/c");
        same("2", text(cache.getCurrentData(root() + "/a/b/c").getData()), "cached data");
        same(Set.of("b"), cache.getCurrentChildren(root() + "/a").keySet(), "cached children");
        writer.delete().deletingChildrenIfNeeded().forPath(root() + "/a");
        log.await("NODE_REMOVED " + root() + "/a");
    }

    private CuratorCache cache(CuratorFramework client, Log log) throws Exception {
        CuratorCache cache = closing(CuratorCache.build(client, root()));
        cache.listenable().addListener(CuratorCacheListener.builder()
                .forCreates(node -> log.add("created " + node.getPath()))
                .forChanges((before, node) -> log.add("changed " + node.getPath() + " to " + text(node.getData())))
                .forDeletes(node -> log.add("deleted " + node.getPath()))
                .forInitialized(() -> log.add("initialized"))
                .build());
        cache.start();
        return cache;
    }

    /** The one that needs addWatch. */
    @Test
    void curatorCache() throws Exception {
        CuratorFramework writer = curator(member(1), LONG_SESSION);
        String p = root();
        CuratorFramework reader = curator(member(3), LONG_SESSION);
        catchUp(reader);
        Log log = new Log();
        CuratorCache cache = cache(reader, log);
        log.await("initialized");
        for (int round = 0; round < 3; round++) {
            writer.create().forPath(p + "/a", bytes("0"));
            log.expect("created " + p + "/a");
            writer.create().forPath(p + "/a/b", bytes("0"));
            log.expect("created " + p + "/a/b");
            for (int i = 1; i <= 3; i++) {
                writer.setData().forPath(p + "/a/b", bytes("" + i));
                log.expect("changed " + p + "/a/b to " + i);
            }
            writer.delete().forPath(p + "/a/b");
            log.expect("deleted " + p + "/a/b");
            writer.delete().forPath(p + "/a");
            log.expect("deleted " + p + "/a");
        }
        same(1L, cache.stream().count(), "cached nodes");
    }

    /** Waits for a state; an older one may still be on its way. */
    private static void await(BlockingQueue<ConnectionState> states, ConnectionState want) throws Exception {
        ConnectionState state;
        do {
            state = states.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
            check(state != null, "the state " + want + " does not come");
        } while (state != want);
    }

    /** What changed while the cache was cut off is in it afterwards. */
    @Test
    void curatorCacheAfterReconnection() throws Exception {
        CuratorFramework writer = curator(member(1), LONG_SESSION);
        String p = root();
        writer.create().forPath(p + "/kept", bytes("0"));
        writer.create().forPath(p + "/doomed", bytes("0"));
        Control.Proxy proxy = control().proxy(2);
        CuratorFramework reader = curator(proxy.address, LONG_SESSION);
        BlockingQueue<ConnectionState> states = new LinkedBlockingQueue<>();
        reader.getConnectionStateListenable().addListener((client, state) -> states.add(state));
        catchUp(reader);
        Log log = new Log();
        CuratorCache cache = cache(reader, log);
        log.await("initialized");
        proxy.cut();
        await(states, ConnectionState.SUSPENDED);
        writer.setData().forPath(p + "/kept", bytes("1"));
        writer.delete().forPath(p + "/doomed");
        writer.create().forPath(p + "/born", bytes("2"));
        proxy.open();
        await(states, ConnectionState.RECONNECTED);
        Map<String, String> want = Map.of(p + "/kept", "1", p + "/born", "2");
        eventually("the cache has caught up", () -> {
            Map<String, String> got = new HashMap<>();
            cache.stream().filter(node -> !node.getPath().equals(p)).forEach(node -> got.put(node.getPath(), text(node.getData())));
            return want.equals(got);
        });
        writer.setData().forPath(p + "/born", bytes("3"));
        eventually("the cache goes on", () -> "3".equals(cache.get(p + "/born").map(ChildData::getData).map(Suite::text).orElse("")));
    }

    @Test
    void persistentWatcher() throws Exception {
        CuratorFramework writer = curator();
        Log log = new Log();
        PersistentWatcher watcher = closing(new PersistentWatcher(curator(), root(), true));
        watcher.getListenable().addListener(event -> {
            if (event.getType() != EventType.None) {
                log.add(event.getType() + " " + event.getPath());
            }
        });
        watcher.getResetListenable().addListener(() -> log.add("set"));
        watcher.start();
        log.await("set");
        writer.create().forPath(root() + "/a");
        log.expect("NodeCreated " + root() + "/a");
        writer.setData().forPath(root() + "/a", bytes("x"));
        log.expect("NodeDataChanged " + root() + "/a");
        writer.delete().forPath(root() + "/a");
        log.expect("NodeDeleted " + root() + "/a");
    }
}
