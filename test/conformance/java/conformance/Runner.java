package conformance;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/**
 * Runs the tests of the suites that its arguments name, and prints one line for
 * each: "PASS name: duration", "SKIP name: why" or "FAIL name: why" (with indented lines of
 * detail behind it), and "DONE count" at the end. The Go test that started it
 * makes subtests of them.
 *
 * <p>The environment says where the ensemble is (see {@link Suite}), how many
 * tests may run at once (PARALLEL) and which (ONLY, a regular expression).
 */
public final class Runner {
    /** A test that takes longer hangs. */
    private static final long TEST_SECONDS = 100;

    private Runner() {}

    public static void main(String[] args) throws Exception {
        Pattern only = Pattern.compile(System.getenv().getOrDefault("ONLY", ""));
        int parallel = Integer.parseInt(System.getenv().getOrDefault("PARALLEL", "1"));
        ExecutorService pool = Executors.newFixedThreadPool(parallel);
        int count = 0;
        for (String name : args) {
            Class<?> suite = Class.forName("conformance." + name);
            Method[] methods = suite.getDeclaredMethods();
            Arrays.sort(methods, Comparator.comparing(Method::getName));
            for (Method method : methods) {
                String test = name + "." + method.getName();
                Test mark = method.getAnnotation(Test.class);
                if (mark == null || !only.matcher(test).find()) {
                    continue;
                }
                count++;
                if (mark.conclaveOnly() && !"conclave".equals(System.getenv("TARGET"))) {
                    print("SKIP " + test + ": a promise of Conclave's that ZooKeeper does not make");
                    continue;
                }
                pool.submit(() -> runBounded(test, suite, method));
            }
        }
        pool.shutdown();
        pool.awaitTermination(1, TimeUnit.HOURS); // the Go test has the real bound
        print("DONE " + count);
        // Clients of tests that hang may keep threads.
        Runtime.getRuntime().halt(0);
    }

    private static synchronized void print(String text) {
        System.out.println(text);
        System.out.flush();
    }

    private static void runBounded(String name, Class<?> suite, Method method) {
        Thread[] worker = new Thread[1];
        String[] outcome = {null};
        worker[0] = new Thread(() -> outcome[0] = run(name, suite, method), name);
        worker[0].setDaemon(true);
        worker[0].start();
        try {
            worker[0].join(TimeUnit.SECONDS.toMillis(TEST_SECONDS));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        if (outcome[0] == null) {
            outcome[0] = "FAIL " + name + ": hangs\n" + stack(worker[0].getStackTrace());
            worker[0].interrupt();
        }
        print(outcome[0]);
    }

    private static String run(String name, Class<?> suiteClass, Method method) {
        Suite suite = null;
        long start = System.nanoTime();
        try {
            suite = (Suite) suiteClass.getDeclaredConstructor().newInstance();
            suite.begin(name);
            method.setAccessible(true);
            method.invoke(suite);
            return String.format("PASS %s: %.1f s", name, (System.nanoTime() - start) / 1e9);
        } catch (InvocationTargetException e) {
            return failure(name, e.getCause());
        } catch (Throwable e) {
            return failure(name, e);
        } finally {
            if (suite != null) {
                suite.end();
            }
        }
    }

    private static String failure(String name, Throwable e) {
        return "FAIL " + name + ": " + String.valueOf(e).replace('\n', ' ') + "\n" + stack(e.getStackTrace());
    }

    private static String stack(StackTraceElement[] frames) {
        List<String> lines = new ArrayList<>();
        for (StackTraceElement frame : frames) {
            if (frame.getClassName().startsWith("java.lang.reflect") || frame.getClassName().startsWith("jdk.internal")) {
                break;
            }
            lines.add("\tat " + frame);
        }
        return String.join("\n", lines);
    }
}
