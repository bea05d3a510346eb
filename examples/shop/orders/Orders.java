// Orders: POST /api/orders {"buyer": "..."} buys what is in the buyer's cart; GET /api/orders/N tells what became of an order.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public final class Orders {
  record Answer(int status, String body) {}

  record Item(String sku, int quantity) {}

  static final class Refused extends Exception {
    final int status;

    Refused(int status, String words) {
      super(words);
      this.status = status;
    }
  }

  private static final HttpClient client =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(3)).build();
  private static final Pattern TEXT = Pattern.compile("\"buyer\"\\s*:\\s*\"([A-Za-z0-9_-]{1,64})\"");
  private static final Pattern ITEM = Pattern.compile("\\{\"sku\":\"([^\"]+)\",\"quantity\":(\\d+)\\}");
  private static final Pattern PRICE = Pattern.compile("\"price\":\\s*(\\d+)");
  private static final Pattern RECEIPT = Pattern.compile("\"receipt\":\\s*\"([^\"]+)\"");

  private static String env(String name) {
    String value = System.getenv(name);
    if (value == null) throw new IllegalStateException("the environment variable " + name + " is not set");
    return value;
  }

  private static Connection database() throws SQLException, IOException {
    String url = "jdbc:postgresql://" + env("DATABASE_HOST") + "/" + env("DATABASE_NAME") + "?connectTimeout=5";
    return DriverManager.getConnection(url, env("DATABASE_USER"), Files.readString(Path.of(env("DATABASE_PASSWORD_FILE"))).strip());
  }

  private static Answer call(String method, String url, String body) throws IOException, InterruptedException {
    HttpRequest.BodyPublisher publisher =
        body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body);
    HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(10))
        .header("Content-Type", "application/json").method(method, publisher).build();
    HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
    return new Answer(response.statusCode(), response.body());
  }

  private static List<Item> cartOf(String buyer) throws Exception {
    Answer cart = call("GET", env("CART_URL") + "/api/cart/" + buyer, null);
    if (cart.status() != 200) throw new Refused(503, "the cart service answers " + cart.status());
    List<Item> items = new ArrayList<>();
    for (Matcher m = ITEM.matcher(cart.body()); m.find();) items.add(new Item(m.group(1), Integer.parseInt(m.group(2))));
    if (items.isEmpty()) throw new Refused(409, "the cart of " + buyer + " is empty");
    return items;
  }

  private static long priceOf(List<Item> items) throws Exception {
    long total = 0;
    for (Item item : items) {
      Answer good = call("GET", env("CATALOG_URL") + "/api/catalog/" + item.sku(), null);
      Matcher price = PRICE.matcher(good.body());
      if (good.status() == 404) throw new Refused(409, "no such good: " + item.sku());
      if (good.status() != 200 || !price.find()) throw new Refused(503, "the catalog answers " + good.status());
      total += Long.parseLong(price.group(1)) * item.quantity();
    }
    return total;
  }

  private static String receiptFor(String buyer, long amount) throws Exception {
    Answer paid = call("POST", env("PAYMENT_URL") + "/pay", "{\"buyer\": \"" + buyer + "\", \"amount\": " + amount + "}");
    Matcher receipt = RECEIPT.matcher(paid.body());
    if (paid.status() == 402) throw new Refused(402, "the payment was declined");
    if (paid.status() != 200 || !receipt.find()) throw new Refused(503, "the payment service answers " + paid.status());
    return receipt.group(1);
  }

  private static Answer buy(String body) throws Exception {
    Matcher who = TEXT.matcher(body);
    if (!who.find()) throw new Refused(400, "wanted: {\"buyer\": name}");
    String buyer = who.group(1);
    List<Item> items = cartOf(buyer);
    long amount = priceOf(items);
    String receipt = receiptFor(buyer, amount);
    long number;
    try (Connection c = database();
        PreparedStatement s = c.prepareStatement("insert into orders (buyer, amount, receipt, state) values (?, ?, ?, 'paid') returning number")) {
      s.setString(1, buyer);
      s.setLong(2, amount);
      s.setString(3, receipt);
      ResultSet row = s.executeQuery();
      row.next();
      number = row.getLong(1);
    }
    call("DELETE", env("CART_URL") + "/api/cart/" + buyer, null);
    Answer told = call("POST", env("EVENTS_URL") + "/event", "{\"order\": " + number + "}");
    if (told.status() != 202) System.err.println("orders: order " + number + " was not told to shipping: " + told.status());
    return new Answer(201, order(number));
  }

  private static String order(long number) throws Exception {
    try (Connection c = database();
        PreparedStatement s = c.prepareStatement("select buyer, amount, receipt, state from orders where number = ?")) {
      s.setLong(1, number);
      ResultSet row = s.executeQuery();
      if (!row.next()) throw new Refused(404, "no such order: " + number);
      return String.format("{\"order\": %d, \"buyer\": \"%s\", \"amount\": %d, \"receipt\": \"%s\", \"state\": \"%s\"}", number,
          row.getString(1), row.getLong(2), row.getString(3), row.getString(4));
    }
  }

  private static Answer respond(HttpExchange e) {
    String path = e.getRequestURI().getPath();
    try {
      String body = new String(e.getRequestBody().readNBytes(65536), StandardCharsets.UTF_8);
      if (path.equals("/healthz")) {
        try (Connection c = database()) {
          return new Answer(200, "{\"database\": \"" + c.getMetaData().getDatabaseProductVersion() + "\"}");
        }
      }
      if (path.equals("/api/orders") && e.getRequestMethod().equals("POST")) return buy(body);
      if (path.matches("/api/orders/\\d{1,18}")) return new Answer(200, order(Long.parseLong(path.substring(12))));
      return new Answer(404, "{\"error\": \"no such page\"}");
    } catch (Refused r) {
      return new Answer(r.status, "{\"error\": \"" + r.getMessage() + "\"}");
    } catch (Exception x) {
      System.err.println("orders: " + path + ": " + x);
      return new Answer(503, "{\"error\": \"" + x.getClass().getSimpleName() + "\"}");
    }
  }

  public static void main(String[] args) throws Exception {
    try (Connection c = database(); var s = c.createStatement()) {
      s.execute("create table if not exists orders (number bigserial primary key, buyer text not null, amount bigint not null, receipt text not null, state text not null)");
    }
    HttpServer server = HttpServer.create(new InetSocketAddress(8000), 128);
    server.setExecutor(Executors.newFixedThreadPool(8));
    server.createContext("/", e -> {
      Answer answer = respond(e);
      byte[] bytes = answer.body().getBytes(StandardCharsets.UTF_8);
      e.getResponseHeaders().set("Content-Type", "application/json");
      e.sendResponseHeaders(answer.status(), bytes.length);
      e.getResponseBody().write(bytes);
      e.close();
    });
    server.start();
    System.out.println("orders: listening");
  }
}
