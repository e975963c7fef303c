package conformance;

import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;

/** A watcher that keeps what it is told until the test asks. */
final class Events implements Watcher {
    private final BlockingQueue<WatchedEvent> queue = new LinkedBlockingQueue<>();

    @Override
    public void process(WatchedEvent event) {
        queue.add(event);
    }

    /** The next event about a node, passing over connection states. */
    WatchedEvent next() throws InterruptedException {
        while (true) {
            WatchedEvent event = queue.poll(Suite.PATIENCE_SECONDS, TimeUnit.SECONDS);
            if (event == null) {
                throw new AssertionError("no event came");
            }
            if (event.getType() != EventType.None) {
                return event;
            }
        }
    }

    /** Wants the next event about a node to be this one. */
    void expect(EventType type, String path) throws InterruptedException {
        WatchedEvent event = next();
        if (event.getType() != type || !path.equals(event.getPath())) {
            throw new AssertionError("got " + event + ", want " + type + " on " + path);
        }
    }

    /** Waits for a connection state, passing over everything else. */
    void await(KeeperState state) throws InterruptedException {
        while (true) {
            WatchedEvent event = queue.poll(Suite.PATIENCE_SECONDS, TimeUnit.SECONDS);
            if (event == null) {
                throw new AssertionError("the state " + state + " did not come");
            }
            if (event.getType() == EventType.None && event.getState() == state) {
                return;
            }
        }
    }

    /** Wants nothing about a node to be waiting. See {@link Suite#settle}. */
    void expectNone() {
        for (WatchedEvent event : queue) {
            if (event.getType() != EventType.None) {
                throw new AssertionError("unexpected " + event);
            }
        }
    }
}
