package conformance;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.CachedAtomicLong;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicValue;
import org.apache.curator.framework.recipes.atomic.PromotedToLock;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedCountListener;
import org.apache.curator.framework.recipes.shared.SharedCountReader;
import org.apache.curator.framework.recipes.shared.SharedValue;
import org.apache.curator.framework.recipes.shared.VersionedValue;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryNTimes;

/** Barriers, counters and shared values. */
final class CuratorCounterTests extends CuratorSuite {
    @Test
    void barrier() throws Exception {
        DistributedBarrier holder = new DistributedBarrier(curator(), root() + "/barrier");
        holder.setBarrier();
        List<Task> tasks = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            CuratorFramework client = curator(member(1 + i % 3), LONG_SESSION);
            catchUp(client);
            tasks.add(new Task("waiter " + i, () -> check(
                    new DistributedBarrier(client, root() + "/barrier").waitOnBarrier(PATIENCE_SECONDS, TimeUnit.SECONDS), "the barrier stays")));
        }
        check(!new DistributedBarrier(curator(), root() + "/barrier").waitOnBarrier(200, TimeUnit.MILLISECONDS), "the barrier does not hold");
        for (Task task : tasks) {
            check(!task.ended(), "a waiter went through");
        }
        holder.removeBarrier();
        for (Task task : tasks) {
            task.join();
        }
    }

    @Test
    void doubleBarrier() throws Exception {
        final int count = 5;
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger outside = new AtomicInteger();
        List<Task> tasks = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            CuratorFramework client = curator(member(1 + i % 3), LONG_SESSION);
            tasks.add(new Task("member " + i, () -> {
                DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(client, root() + "/barrier", count);
                inside.incrementAndGet();
                check(barrier.enter(PATIENCE_SECONDS, TimeUnit.SECONDS), "did not enter");
                same(count, inside.get(), "those at the entrance when the first goes through");
                outside.incrementAndGet();
                check(barrier.leave(PATIENCE_SECONDS, TimeUnit.SECONDS), "did not leave");
                same(count, outside.get(), "those at the exit when the first goes through");
            }));
        }
        for (Task task : tasks) {
            task.join();
        }
    }

    /** Optimistic first, then with a lock: no increment is lost. */
    @Test
    void atomicLong() throws Exception {
        final int clients = 4;
        final int rounds = 20;
        List<Task> tasks = new ArrayList<>();
        for (int i = 0; i < clients; i++) {
            CuratorFramework client = curator(member(1 + i % 3), LONG_SESSION);
            PromotedToLock promoted = PromotedToLock.builder()
                    .lockPath(root() + "/lock").timeout(PATIENCE_SECONDS, TimeUnit.SECONDS).retryPolicy(new RetryNTimes(10, 5)).build();
            tasks.add(new Task("client " + i, () -> {
                DistributedAtomicLong counter = new DistributedAtomicLong(client, root() + "/counter", new RetryNTimes(3, 5), promoted);
                for (int round = 0; round < rounds; round++) {
                    AtomicValue<Long> value = counter.increment();
                    check(value.succeeded(), "an increment did not succeed");
                    same(value.preValue() + 1, value.postValue(), "value after an increment");
                }
            }));
        }
        for (Task task : tasks) {
            task.join();
        }
        CuratorFramework reader = curator();
        catchUp(reader);
        same((long) clients * rounds, new DistributedAtomicLong(reader, root() + "/counter", new RetryNTimes(3, 5)).get().postValue(), "sum");
    }

    @Test
    void otherAtomics() throws Exception {
        CuratorFramework client = curator();
        RetryNTimes retry = new RetryNTimes(3, 10);
        DistributedAtomicInteger number = new DistributedAtomicInteger(client, root() + "/int", retry);
        check(number.initialize(5), "initialize");
        check(!number.initialize(6), "initialize a second time");
        same(8, number.add(3).postValue(), "add");
        same(6, number.subtract(2).postValue(), "subtract");
        check(!number.compareAndSet(5, 1).succeeded(), "compareAndSet with the wrong value");
        check(number.compareAndSet(6, 1).succeeded(), "compareAndSet");
        number.forceSet(9);
        same(9, number.get().postValue(), "get");
        DistributedAtomicValue value = new DistributedAtomicValue(client, root() + "/value", retry);
        check(value.trySet(bytes("a")).succeeded(), "trySet");
        check(value.compareAndSet(bytes("a"), bytes("b")).succeeded(), "compareAndSet of bytes");
        same("b", text(value.get().postValue()), "bytes");
        CachedAtomicLong cached = new CachedAtomicLong(new DistributedAtomicLong(client, root() + "/cached", retry), 10);
        for (long i = 1; i <= 25; i++) {
            same(i, cached.next().postValue(), "cached number");
        }
    }

    @Test
    void sharedCount() throws Exception {
        SharedCount one = closing(new SharedCount(curator(member(1), LONG_SESSION), root() + "/count", 7));
        SharedCount two = closing(new SharedCount(curator(member(2), LONG_SESSION), root() + "/count", 7));
        BlockingQueue<Integer> seen = new LinkedBlockingQueue<>();
        two.addListener(new SharedCountListener() {
            @Override
            public void countHasChanged(SharedCountReader reader, int count) {
                seen.add(count);
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState state) {
                // nothing to do
            }
        });
        one.start();
        two.start();
        same(7, one.getCount(), "the seed");
        one.setCount(10);
        while (true) {
            Integer count = seen.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
            check(count != null, "the other one does not hear of it");
            if (count == 10) {
                break;
            }
        }
        same(10, two.getCount(), "count of the other one");
        VersionedValue<Integer> stale = one.getVersionedValue();
        check(two.trySetCount(two.getVersionedValue(), 11), "trySetCount");
        check(!one.trySetCount(stale, 12), "trySetCount with a stale version");
        eventually("the first hears of it", () -> one.getCount() == 11);
    }

    @Test
    void sharedValue() throws Exception {
        SharedValue one = closing(new SharedValue(curator(), root() + "/value", bytes("seed")));
        SharedValue two = closing(new SharedValue(curator(), root() + "/value", bytes("seed")));
        one.start();
        two.start();
        one.setValue(bytes("new"));
        eventually("the other one sees it", () -> Arrays.equals(bytes("new"), two.getValue()));
        check(two.trySetValue(two.getVersionedValue(), bytes("newer")), "trySetValue");
        eventually("the first sees it", () -> Arrays.equals(bytes("newer"), one.getValue()));
    }
}
