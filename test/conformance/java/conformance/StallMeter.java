package conformance;

/**
 * Watches the machine: how long has this process been kept from running? A test
 * about short timeouts can so tell a server that is wrong from a machine that
 * stood still, and try again.
 */
final class StallMeter implements AutoCloseable {
    private final Thread ticker = new Thread(this::tick, "stall meter");
    private volatile boolean closed;
    private volatile long worst;

    StallMeter() {
        ticker.setDaemon(true);
        ticker.start();
    }

    private void tick() {
        long last = System.nanoTime();
        while (!closed) {
            try {
                Thread.sleep(10); // the pace of the meter
            } catch (InterruptedException e) {
                return;
            }
            long now = System.nanoTime();
            worst = Math.max(worst, now - last);
            last = now;
        }
    }

    /** The longest pause so far. */
    long worstMillis() {
        return worst / 1_000_000;
    }

    @Override
    public void close() {
        closed = true;
        ticker.interrupt();
    }
}
