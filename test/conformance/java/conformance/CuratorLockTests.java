package conformance;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.locks.Locker;
import org.apache.curator.framework.recipes.locks.Revoker;
import org.apache.curator.framework.recipes.shared.SharedCount;

/** Locks and semaphores of Curator, each between clients on different members. */
final class CuratorLockTests extends CuratorSuite {
    /** Makes a lock for one client. */
    private interface LockMaker {
        InterProcessLock make(CuratorFramework client) throws Exception;
    }

    /** Several clients take turns; the lock is never held twice. */
    private void excludes(LockMaker maker) throws Exception {
        AtomicInteger holders = new AtomicInteger();
        AtomicInteger turns = new AtomicInteger();
        List<Task> tasks = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            CuratorFramework client = curator(member(1 + i % 3), LONG_SESSION);
            tasks.add(new Task("client " + i, () -> {
                InterProcessLock lock = maker.make(client);
                for (int round = 0; round < 8; round++) {
                    check(lock.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "not acquired");
                    try {
                        same(1, holders.incrementAndGet(), "holders");
                        client.getZookeeperClient().getZooKeeper().exists("/", false); // let others try
                        turns.incrementAndGet();
                    } finally {
                        holders.decrementAndGet();
                        lock.release();
                    }
                }
            }));
        }
        for (Task task : tasks) {
            task.join();
        }
        same(40, turns.get(), "turns");
    }

    @Test
    void mutex() throws Exception {
        String p = root() + "/lock";
        excludes(client -> new InterProcessMutex(client, p));
    }

    @Test
    void semaphoreMutex() throws Exception {
        String p = root() + "/lock";
        excludes(client -> new InterProcessSemaphoreMutex(client, p));
    }

    @Test
    void writeLock() throws Exception {
        String p = root() + "/lock";
        excludes(client -> new InterProcessReadWriteLock(client, p).writeLock());
    }

    @Test
    void multiLock() throws Exception {
        List<String> paths = List.of(root() + "/a", root() + "/b", root() + "/c");
        excludes(client -> new InterProcessMultiLock(client, paths));
    }

    @Test
    void mutexIsReentrant() throws Exception {
        CuratorFramework one = curator();
        InterProcessMutex mutex = new InterProcessMutex(one, root() + "/lock");
        InterProcessMutex other = new InterProcessMutex(curator(), root() + "/lock");
        mutex.acquire();
        mutex.acquire();
        check(!other.acquire(200, TimeUnit.MILLISECONDS), "acquired while held");
        mutex.release();
        check(!other.acquire(200, TimeUnit.MILLISECONDS), "acquired while held once");
        mutex.release();
        check(other.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "not acquired after the release");
        other.release();
    }

    @Test
    void mutexIsRevoked() throws Exception {
        CuratorFramework one = curator();
        CuratorFramework two = curator();
        CountDownLatch asked = new CountDownLatch(1);
        InterProcessMutex mutex = new InterProcessMutex(one, root() + "/lock");
        mutex.makeRevocable(lock -> asked.countDown());
        mutex.acquire();
        Collection<String> nodes = mutex.getParticipantNodes();
        same(1, nodes.size(), "participants");
        Revoker.attemptRevoke(two, nodes.iterator().next());
        check(asked.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the holder was not asked");
        mutex.release();
    }

    /** The lock of a client whose session expires goes to the next one. */
    @Test
    void mutexOfAnExpiredClient() throws Exception {
        Control.Proxy proxy = control().proxy(1);
        CuratorFramework lost = curator(proxy.address, 2_000);
        new Task("the one who loses it", () -> new InterProcessMutex(lost, root() + "/lock").acquire()).join();
        InterProcessMutex next = new InterProcessMutex(curator(member(2), LONG_SESSION), root() + "/lock");
        check(!next.acquire(200, TimeUnit.MILLISECONDS), "acquired while held");
        proxy.cut();
        check(next.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "not acquired after the expiry");
        next.release();
    }

    @Test
    void readersTogetherWritersAlone() throws Exception {
        InterProcessReadWriteLock one = new InterProcessReadWriteLock(curator(), root() + "/lock");
        InterProcessReadWriteLock two = new InterProcessReadWriteLock(curator(), root() + "/lock");
        check(one.readLock().acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "first reader");
        check(two.readLock().acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "second reader");
        CountDownLatch wrote = new CountDownLatch(1);
        InterProcessReadWriteLock three = new InterProcessReadWriteLock(curator(), root() + "/lock");
        Task writer = new Task("writer", () -> {
            check(three.writeLock().acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "writer");
            wrote.countDown();
            three.writeLock().release();
        });
        eventually("the writer stands in line", () -> three.writeLock().getParticipantNodes().size() == 1);
        one.readLock().release();
        same(1L, wrote.getCount(), "the writer waits for the second reader");
        two.readLock().release();
        writer.join();
        // Downgrading: the writer may become a reader.
        check(one.writeLock().acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "writer again");
        check(one.readLock().acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "reader within");
        one.writeLock().release();
        check(two.readLock().acquire(PATIENCE_SECONDS, TimeUnit.SECONDS), "another reader");
    }

    /** Three leases: three clients meet while they hold one each, and never four. */
    @Test
    void semaphore() throws Exception {
        String p = root() + "/semaphore";
        AtomicInteger holders = new AtomicInteger();
        CyclicBarrier meeting = new CyclicBarrier(3);
        List<Task> tasks = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            CuratorFramework client = curator(member(1 + i % 3), LONG_SESSION);
            tasks.add(new Task("client " + i, () -> {
                InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, p, 3);
                for (int round = 0; round < 4; round++) {
                    try (Lease lease = semaphore.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
                        check(lease != null, "not acquired");
                        check(holders.incrementAndGet() <= 3, "more than three hold a lease");
                        meeting.await(PATIENCE_SECONDS, TimeUnit.SECONDS);
                        holders.decrementAndGet();
                    }
                }
            }));
        }
        for (Task task : tasks) {
            task.join();
        }
    }

    @Test
    void semaphoreWithSharedCount() throws Exception {
        CuratorFramework client = curator();
        SharedCount count = closing(new SharedCount(client, root() + "/count", 2));
        count.start();
        InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, root() + "/semaphore", count);
        Collection<Lease> leases = semaphore.acquire(2);
        same(null, semaphore.acquire(100, TimeUnit.MILLISECONDS), "a third lease");
        count.setCount(3);
        Lease third = semaphore.acquire(PATIENCE_SECONDS, TimeUnit.SECONDS);
        check(third != null, "not acquired after the count was raised");
        semaphore.returnAll(leases);
        semaphore.returnLease(third);
    }

    @Test
    void lockerGivesBack() throws Exception {
        InterProcessMutex mutex = new InterProcessMutex(curator(), root() + "/lock");
        try (Locker locker = new Locker(mutex, PATIENCE_SECONDS, TimeUnit.SECONDS)) {
            check(mutex.isAcquiredInThisProcess(), "not held");
        }
        check(!mutex.isAcquiredInThisProcess(), "held after the block");
    }
}
