import java.io.*;
import java.net.*;
import java.nio.channels.*;
import java.util.concurrent.*;

/**
 * An HTTP server that closes no connection on which a request may be on its way. Java takes
 * an inherited socket as standard input alone:
 *
 *     panzer -x -n 2 -b 127.0.0.1:8000 --ready notify -- sh -c 'exec java -cp . Server <&3'
 */
public class Server {
    /** How long an idle connection waits for its next request, in milliseconds. */
    static final int KEEP_ALIVE = 5000;
    static volatile boolean stopping = false;

    public static void main(String[] arguments) throws Exception {
        ServerSocketChannel listener = (ServerSocketChannel) System.inheritedChannel();
        ExecutorService clients = Executors.newCachedThreadPool();
        Thread accepting = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { // SIGTERM
            stopping = true;
            try {
                listener.close();
                accepting.join(); // What it has accepted is with the clients now.
                clients.shutdown();
                clients.awaitTermination(60, TimeUnit.SECONDS);
            } catch (IOException | InterruptedException error) {
                error.printStackTrace();
            }
        }));
        if (System.getenv("NOTIFY_SOCKET") != null)
            new ProcessBuilder("systemd-notify", "--ready").inheritIO().start();
        try {
            while (true) {
                Socket client = listener.accept().socket();
                clients.execute(() -> serve(client));
            }
        } catch (ClosedChannelException stop) {
            // The hook waits for the clients.
        }
    }

    static void serve(Socket client) {
        try (client) {
            client.setSoTimeout(KEEP_ALIVE);
            BufferedReader in = new BufferedReader(
                new InputStreamReader(client.getInputStream(), "ISO-8859-1"));
            boolean isKept = true;
            while (isKept && in.readLine() != null) {
                for (String line; (line = in.readLine()) != null && !line.isEmpty(); )
                    isKept &= !line.equalsIgnoreCase("Connection: close");
                isKept &= !stopping;
                String body = "hello from " + ProcessHandle.current().pid() + "\n";
                String end = isKept ? "" : "Connection: close\r\n";
                String answer = "HTTP/1.1 200 OK\r\n" + end
                    + "Content-Length: " + body.length() + "\r\n\r\n" + body;
                client.getOutputStream().write(answer.getBytes("ISO-8859-1"));
            }
        } catch (IOException gone) {
            // The client has hung up, or has sent nothing for long.
        }
    }
}
