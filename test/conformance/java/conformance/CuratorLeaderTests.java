package conformance;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;

/** Elections. */
final class CuratorLeaderTests extends CuratorSuite {
    private LeaderLatch latch(CuratorFramework client, String id) throws Exception {
        LeaderLatch latch = closing(new LeaderLatch(client, root() + "/latch", id));
        latch.start();
        return latch;
    }

    @Test
    void latch() throws Exception {
        List<LeaderLatch> latches = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            LeaderLatch latch = latch(curator(member(1 + i % 3), LONG_SESSION), "c" + i);
            latches.add(latch);
            int count = i + 1;
            eventually("candidate " + i + " stands", () -> latch.getParticipants().size() == count);
        }
        // Leadership goes by the order of arrival.
        for (int i = 0; i < 4; i++) {
            LeaderLatch latch = latches.get(i);
            check(latch.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "candidate " + i + " does not lead");
            same("c" + i, latch.getLeader().getId(), "leader");
            for (int j = i + 1; j < 4; j++) {
                check(!latches.get(j).hasLeadership(), "candidates " + i + " and " + j + " both lead");
            }
            latch.close();
        }
    }

    /** The leader's session expires: another one leads, and the first one knows. */
    @Test
    void latchOfAnExpiredLeader() throws Exception {
        Control.Proxy proxy = control().proxy(2);
        LeaderLatch first = latch(curator(proxy.address, 2_000), "first");
        check(first.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the first does not lead");
        LeaderLatch second = latch(curator(member(3), LONG_SESSION), "second");
        eventually("both stand", () -> second.getParticipants().size() == 2);
        proxy.cut();
        check(second.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "the second does not lead");
        check(!first.hasLeadership(), "the first believes that it leads");
        proxy.open();
        eventually("the first stands again", () -> {
            for (Participant participant : second.getParticipants()) {
                if (participant.getId().equals("first") && !participant.isLeader()) {
                    return true;
                }
            }
            return false;
        });
        check(second.hasLeadership(), "the second lost its leadership");
    }

    @Test
    void selector() throws Exception {
        AtomicInteger leaders = new AtomicInteger();
        AtomicReference<String> wrong = new AtomicReference<>();
        CountDownLatch terms = new CountDownLatch(12);
        for (int i = 0; i < 4; i++) {
            CuratorFramework client = curator(member(1 + i % 3), LONG_SESSION);
            LeaderSelector selector = closing(new LeaderSelector(client, root() + "/select", new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework leading) throws Exception {
                    if (leaders.incrementAndGet() != 1) {
                        wrong.set("two lead at once");
                    }
                    leading.checkExists().forPath("/");
                    leaders.decrementAndGet();
                    terms.countDown();
                }
            }));
            selector.setId("s" + i);
            selector.autoRequeue();
            selector.start();
        }
        check(terms.await(PATIENCE_SECONDS, TimeUnit.SECONDS), terms.getCount() + " terms of office did not come");
        same(null, wrong.get(), "mutual exclusion");
    }

    @Test
    void selectorIsInterrupted() throws Exception {
        CountDownLatch leads = new CountDownLatch(1);
        CountDownLatch interrupted = new CountDownLatch(1);
        LeaderSelector selector = closing(new LeaderSelector(curator(), root() + "/select", new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework client) throws Exception {
                leads.countDown();
                try {
                    new CountDownLatch(1).await();
                } catch (InterruptedException e) {
                    interrupted.countDown();
                    throw e;
                }
            }
        }));
        selector.start();
        check(leads.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "does not lead");
        selector.interruptLeadership();
        check(interrupted.await(PATIENCE_SECONDS, TimeUnit.SECONDS), "was not interrupted");
    }
}
