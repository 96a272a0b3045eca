import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.internal.AssumptionViolatedException;
import org.junit.runner.Description;
import org.junit.runner.JUnitCore;
import org.junit.runner.Request;
import org.junit.runner.manipulation.Filter;
import org.junit.runner.notification.Failure;
import org.junit.runner.notification.RunListener;

/**
 * Runs JUnit 4 classes one after the other and prints one line a test: PASS, FAIL, SKIP or LEFT (out).
 *
 * Arguments: a file of what is left out ("Class" or "Class.method", then a reason), seconds that one
 * class may take, the class names. A class that takes longer ends the process with status 3 after a
 * FAIL line; "BEGIN class" lines tell the caller where to go on.
 */
public class ConformanceRunner {
    private static final Map<String, String> LEFT_OUT = new HashMap<>();
    private static final AtomicReference<String> CURRENT = new AtomicReference<>();

    private static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static String nameOf(Description d) {
        return d.getTestClass() == null ? d.getDisplayName()
                : d.getTestClass().getSimpleName() + "." + d.getMethodName();
    }

    private static class Lines extends RunListener {
        private final Map<Description, String> bad = new HashMap<>();

        @Override public void testFailure(Failure f) {
            String line = "FAIL " + nameOf(f.getDescription()) + " # " + String.valueOf(f.getException()).split("\n")[0];
            if (f.getDescription().isTest()) {
                bad.put(f.getDescription(), line);
            } else {
                say(line);
            }
            f.getException().printStackTrace();
        }

        @Override public void testAssumptionFailure(Failure f) {
            bad.put(f.getDescription(), "SKIP " + nameOf(f.getDescription()));
        }

        @Override public void testIgnored(Description d) {
            say("SKIP " + nameOf(d));
        }

        @Override public void testFinished(Description d) {
            String line = bad.remove(d);
            say(line != null ? line : "PASS " + nameOf(d));
        }
    }

    private static final Filter WANTED = new Filter() {
        @Override public boolean shouldRun(Description d) {
            return !d.isTest() || !LEFT_OUT.containsKey(nameOf(d));
        }

        @Override public String describe() {
            return "not left out";
        }
    };

    private static void watch(long seconds) {
        Thread t = new Thread(() -> {
            String last = null;
            long since = System.nanoTime();
            while (true) {
                String now = CURRENT.get();
                if (!String.valueOf(now).equals(String.valueOf(last))) {
                    last = now;
                    since = System.nanoTime();
                } else if (now != null && System.nanoTime() - since > seconds * 1_000_000_000L) {
                    say("FAIL " + now + " # did not finish within " + seconds + " s");
                    Runtime.getRuntime().halt(3);
                }
                try {
                    Thread.sleep(200);
                } catch (InterruptedException e) {
                    return;
                }
            }
        });
        t.setDaemon(true);
        t.start();
    }

    public static void main(String[] args) throws Exception {
        for (String line : Files.readAllLines(Paths.get(args[0]))) {
            String[] words = line.trim().split("\\s+", 2);
            if (!words[0].isEmpty() && !words[0].startsWith("#")) {
                LEFT_OUT.put(words[0], words.length > 1 ? words[1] : "");
            }
        }
        watch(Long.parseLong(args[1]));
        List<String> classes = new ArrayList<>(java.util.Arrays.asList(args).subList(2, args.length));
        for (String name : classes) {
            Class<?> c = Class.forName(name);
            say("BEGIN " + name);
            if (LEFT_OUT.containsKey(c.getSimpleName())) {
                say("LEFT " + c.getSimpleName());
                continue;
            }
            for (String left : LEFT_OUT.keySet()) {
                if (left.startsWith(c.getSimpleName() + ".")) {
                    say("LEFT " + left);
                }
            }
            CURRENT.set(name);
            JUnitCore core = new JUnitCore();
            core.addListener(new Lines());
            try {
                core.run(Request.aClass(c).filterWith(WANTED));
            } catch (AssumptionViolatedException e) {
                say("SKIP " + c.getSimpleName());
            }
            CURRENT.set(null);
        }
        say("DONE");
        System.exit(0);
    }
}
