package conformance;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Speaks to the Go harness, which holds the members and the proxies. */
final class Control implements AutoCloseable {
    private final Socket socket;
    private final BufferedReader in;
    private final PrintWriter out;
    private final List<Proxy> proxies = new ArrayList<>();

    Control() throws IOException {
        String[] address = System.getenv("CONTROL").split(":");
        socket = new Socket(address[0], Integer.parseInt(address[1]));
        in = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
        out = new PrintWriter(socket.getOutputStream(), true);
    }

    private synchronized String ask(String request) throws IOException {
        out.println(request);
        String answer = in.readLine();
        if (answer == null || !answer.startsWith("ok")) {
            throw new IOException("the harness answered \"" + request + "\" with: " + answer);
        }
        return answer.substring(2).trim();
    }

    void kill(int member) throws IOException {
        ask("kill " + member);
    }

    void start(int member) throws IOException {
        ask("start " + member);
    }

    void pause(int member) throws IOException {
        ask("pause " + member);
    }

    void resume(int member) throws IOException {
        ask("resume " + member);
    }

    /** Waits until every running member serves. */
    void ready() throws IOException {
        ask("ready");
    }

    /** Starts and resumes every member and waits until all serve. */
    void restore() throws IOException {
        ask("restore");
    }

    /** The leading member's number, from 1. */
    int leader() throws IOException {
        return Integer.parseInt(ask("leader"));
    }

    /** Puts a proxy before a member. */
    Proxy proxy(int member) throws IOException {
        Proxy proxy = new Proxy(ask("proxy " + member));
        proxies.add(proxy);
        return proxy;
    }

    @Override
    public void close() throws IOException {
        try {
            for (Proxy proxy : proxies) {
                ask("close " + proxy.address);
            }
        } finally {
            socket.close();
        }
    }

    /** A TCP proxy before one member. */
    final class Proxy {
        final String address;

        private Proxy(String address) {
            this.address = address;
        }

        /** Passes everything. */
        void open() throws IOException {
            ask("open " + address);
        }

        /** Passes nothing and keeps every connection: silence on both sides. */
        void hold() throws IOException {
            ask("hold " + address);
        }

        /** Closes every connection, and new ones as they come. */
        void cut() throws IOException {
            ask("cut " + address);
        }
    }
}
