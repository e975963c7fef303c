package conformance;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.DistributedIdQueue;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.state.ConnectionState;

/** Curator's queues. */
final class CuratorQueueTests extends CuratorSuite {
    private static final QueueSerializer<String> TEXT = new QueueSerializer<>() {
        @Override
        public byte[] serialize(String item) {
            return bytes(item);
        }

        @Override
        public String deserialize(byte[] bytes) {
            return text(bytes);
        }
    };

    /** Keeps what it is given. */
    private static final class Consumer implements QueueConsumer<String> {
        final BlockingQueue<String> items = new LinkedBlockingQueue<>();

        @Override
        public void consumeMessage(String item) {
            items.add(item);
        }

        @Override
        public void stateChanged(CuratorFramework client, ConnectionState state) {
            // nothing to do
        }

        String next() throws InterruptedException {
            String item = items.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
            check(item != null, "an item does not come");
            return item;
        }

        List<String> next(int count) throws InterruptedException {
            List<String> got = new ArrayList<>();
            while (got.size() < count) {
                got.add(next());
            }
            return got;
        }
    }

    private static List<String> names(String prefix, int count) {
        List<String> names = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            names.add(prefix + i);
        }
        return names;
    }

    @Test
    void queueKeepsOrder() throws Exception {
        Consumer consumer = new Consumer();
        DistributedQueue<String> producer = closing(QueueBuilder.builder(curator(member(1), LONG_SESSION), null, TEXT, root() + "/queue").buildQueue());
        DistributedQueue<String> queue = closing(QueueBuilder.builder(curator(member(2), LONG_SESSION), consumer, TEXT, root() + "/queue").buildQueue());
        producer.start();
        queue.start();
        for (String name : names("item ", 50)) {
            producer.put(name);
        }
        same(names("item ", 50), consumer.next(50), "items");
    }

    /** Two consumers share the items; with a lock path, each comes exactly once. */
    @Test
    void queueWithTwoConsumers() throws Exception {
        Consumer[] consumers = {new Consumer(), new Consumer()};
        for (Consumer consumer : consumers) {
            DistributedQueue<String> queue = closing(
                    QueueBuilder.builder(curator(), consumer, TEXT, root() + "/queue").lockPath(root() + "/locks").buildQueue());
            queue.start();
        }
        DistributedQueue<String> producer = closing(QueueBuilder.builder(curator(), null, TEXT, root() + "/queue").buildQueue());
        producer.start();
        for (String name : names("item ", 40)) {
            producer.put(name);
        }
        CuratorFramework client = curator();
        eventually("the queue is empty", () -> {
            catchUp(client);
            return consumers[0].items.size() + consumers[1].items.size() >= 40 && client.getChildren().forPath(root() + "/queue").isEmpty();
        });
        List<String> all = new ArrayList<>(consumers[0].items);
        all.addAll(consumers[1].items);
        Collections.sort(all);
        List<String> want = names("item ", 40);
        Collections.sort(want);
        same(want, all, "items of both");
    }

    @Test
    void idQueue() throws Exception {
        Consumer consumer = new Consumer();
        DistributedIdQueue<String> producer = closing(QueueBuilder.builder(curator(), null, TEXT, root() + "/queue").buildIdQueue());
        producer.start();
        for (int i = 0; i < 10; i++) {
            producer.put("item " + i, "id" + i);
        }
        check(producer.flushPuts(PATIENCE_SECONDS, TimeUnit.SECONDS), "the puts are not flushed");
        same(1, producer.remove("id3"), "items removed by id");
        same(0, producer.remove("id3"), "items removed by the same id");
        DistributedIdQueue<String> queue = closing(QueueBuilder.builder(curator(), consumer, TEXT, root() + "/queue").buildIdQueue());
        queue.start();
        List<String> want = names("item ", 10);
        want.remove("item 3");
        same(new TreeSet<>(want), new TreeSet<>(consumer.next(9)), "items");
    }

    @Test
    void priorityQueue() throws Exception {
        Consumer consumer = new Consumer();
        DistributedPriorityQueue<String> producer = closing(QueueBuilder.builder(curator(), null, TEXT, root() + "/queue").buildPriorityQueue(0));
        producer.start();
        for (int i = 0; i < 10; i++) {
            producer.put("priority " + (i * 7 % 10), i * 7 % 10);
        }
        check(producer.flushPuts(PATIENCE_SECONDS, TimeUnit.SECONDS), "the puts are not flushed");
        DistributedPriorityQueue<String> queue = closing(QueueBuilder.builder(curator(), consumer, TEXT, root() + "/queue").buildPriorityQueue(0));
        queue.start();
        same(names("priority ", 10), consumer.next(10), "items");
    }

    @Test
    void delayQueue() throws Exception {
        Consumer consumer = new Consumer();
        CuratorFramework client = curator();
        DistributedDelayQueue<String> queue = closing(QueueBuilder.builder(client, consumer, TEXT, root() + "/queue").buildDelayQueue());
        queue.start();
        long now = System.currentTimeMillis();
        queue.put("late", now + 1_000);
        queue.put("early", now + 300);
        queue.put("at once", now);
        same(List.of("at once", "early", "late"), consumer.next(3), "items");
        check(System.currentTimeMillis() >= now + 1_000, "an item came before its time");
    }

    @Test
    void simpleQueue() throws Exception {
        SimpleDistributedQueue one = new SimpleDistributedQueue(curator(member(1), LONG_SESSION), root() + "/queue");
        SimpleDistributedQueue two = new SimpleDistributedQueue(curator(member(3), LONG_SESSION), root() + "/queue");
        Set<String> taken = new HashSet<>();
        Task taker = new Task("taker", () -> {
            for (int i = 0; i < 20; i++) {
                taken.add(text(two.poll(PATIENCE_SECONDS, TimeUnit.SECONDS)));
            }
        });
        for (String name : names("item ", 20)) {
            check(one.offer(bytes(name)), "offer refused");
        }
        taker.join();
        same(new HashSet<>(names("item ", 20)), taken, "items");
        same(null, one.poll(), "an item of an empty queue");
        one.offer(bytes("last"));
        same("last", text(one.peek()), "peek");
        same("last", text(one.take()), "take");
    }
}
