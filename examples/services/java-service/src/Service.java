import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

public class Service {
    static String answer(String path) {
        return new StringBuilder(path).reverse() + "\n";
    }

    public static void main(String[] args) throws Exception {
        if (args.length > 0) {
            System.out.print(answer("/check"));
            return;
        }
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 0);
        server.createContext("/", exchange -> {
            byte[] body = answer(exchange.getRequestURI().getPath()).getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }
}
