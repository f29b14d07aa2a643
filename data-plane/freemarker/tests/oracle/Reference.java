import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonWriter;

import freemarker.cache.StringTemplateLoader;
import freemarker.core.ParseException;
import freemarker.core.TemplateClassResolver;
import freemarker.template.Configuration;
import freemarker.template.DefaultObjectWrapperBuilder;
import freemarker.template.Template;
import freemarker.template.TemplateException;
import freemarker.template.TemplateExceptionHandler;
import freemarker.template.Version;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.OutputStreamWriter;
import java.io.StringReader;
import java.io.StringWriter;
import java.io.Writer;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TimeZone;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Renders requests with Apache FreeMarker: a JSON object a line in, an answer a line out, in the format of the crate's
 * `ndjson` example. README.md describes it.
 */
public final class Reference {
    private static final int MAX_OUTPUT_CHARS = 16 << 20;
    private static final int STACK_BYTES = 32 << 20;
    private static final int ROUNDS = 9;

    public static void main(String[] args) throws Exception {
        int renderings = 0;
        long timeoutMillis = 5_000;
        for (int i = 0; i < args.length; i++) {
            if (args[i].equals("--bench") && i + 1 < args.length) {
                renderings = Integer.parseInt(args[++i]);
            } else if (args[i].equals("--timeout-ms") && i + 1 < args.length) {
                timeoutMillis = Long.parseLong(args[++i]);
            } else if (args[i].equals("--version")) {
                System.out.println("FreeMarker " + Configuration.getVersion() + " on Java "
                        + System.getProperty("java.version"));
                return;
            } else {
                System.err.println("usage: Reference [--bench RENDERINGS] [--timeout-ms MILLISECONDS] [--version]");
                System.exit(2);
            }
        }
        freemarker.log.Logger.selectLoggerLibrary(freemarker.log.Logger.LIBRARY_NONE);
        Locale.setDefault(Locale.US);
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        PrintStream stdout = System.out;
        System.setOut(System.err); // only answers go to standard output
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8), 1 << 20);
        PrintWriter out = new PrintWriter(new OutputStreamWriter(stdout, StandardCharsets.UTF_8));
        Worker worker = new Worker();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            if (line.isBlank()) {
                continue;
            }
            Map<String, Object> answer;
            if (renderings > 0) {
                answer = bench(line, renderings);
            } else {
                answer = worker.answer(line, timeoutMillis);
                if (answer == null) {
                    worker.abandon();
                    worker = new Worker();
                    answer = timeout(line);
                }
            }
            out.println(json(answer));
            if (!in.ready()) {
                out.flush();
            }
        }
        out.flush();
        Runtime.getRuntime().halt(0); // whether or not an abandoned thread is still busy
    }

    /** Answers on a thread of its own, which has a deep stack and can be left behind when a template does not end. */
    private static final class Worker {
        private final BlockingQueue<String> requests = new ArrayBlockingQueue<>(1);
        private final BlockingQueue<Map<String, Object>> answers = new ArrayBlockingQueue<>(1);
        private final Thread thread = new Thread(null, this::run, "rendering", STACK_BYTES);

        Worker() {
            thread.setDaemon(true);
            thread.start();
        }

        Map<String, Object> answer(String request, long timeoutMillis) throws InterruptedException {
            requests.put(request);
            return answers.poll(timeoutMillis, TimeUnit.MILLISECONDS);
        }

        @SuppressWarnings({"deprecation", "removal"})
        void abandon() {
            try {
                thread.stop();
            } catch (UnsupportedOperationException newerJava) {
                thread.interrupt();
            }
        }

        private void run() {
            try {
                while (true) {
                    answers.put(render(requests.take()));
                }
            } catch (InterruptedException abandoned) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private static Map<String, Object> timeout(String line) {
        Map<String, Object> answer = new LinkedHashMap<>();
        try {
            answer.put("id", Request.parse(line).id);
        } catch (Exception e) {
            answer.put("id", null);
        }
        answer.put("error", "the template did not end in time");
        answer.put("kind", "runtime");
        answer.put("exception", "timeout");
        return answer;
    }

    private static Map<String, Object> render(String line) {
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("id", null);
        Request request;
        Configuration configuration;
        try {
            request = Request.parse(line);
            answer.put("id", request.id);
            configuration = request.configuration();
        } catch (Exception e) {
            answer.put("error", String.valueOf(e.getMessage()));
            answer.put("kind", "request");
            return answer;
        }
        String kind = "parse";
        try {
            Template template = new Template(request.name, request.template, configuration);
            kind = "runtime";
            BoundedWriter output = new BoundedWriter();
            template.process(request.model, output);
            answer.put("output", output.toString());
        } catch (ParseException e) {
            error(answer, e.getEditorMessage(), kind, e, e.getLineNumber(), e.getColumnNumber(), e.getTemplateName());
        } catch (TemplateException e) {
            error(answer, e.getMessageWithoutStackTop(), kind, e, e.getLineNumber(), e.getColumnNumber(),
                    e.getTemplateSourceName());
        } catch (Exception | StackOverflowError | OutOfMemoryError e) {
            error(answer, String.valueOf(e.getMessage()), kind, e, null, null, null);
        }
        return answer;
    }

    private static void error(Map<String, Object> answer, String message, String kind, Throwable cause, Integer line,
            Integer column, String template) {
        answer.put("error", message);
        answer.put("kind", kind);
        answer.put("exception", cause.getClass().getName());
        if (line != null && line > 0) {
            answer.put("line", line);
            answer.put("column", column);
        }
        if (template != null) {
            answer.put("template", template);
        }
    }

    /** How long renderings take once Java has compiled what they run. */
    private static Map<String, Object> bench(String line, int renderings) throws Exception {
        Request request = Request.parse(line);
        Configuration configuration = request.configuration();
        Template template = new Template(request.name, request.template, configuration);
        String model = json(request.model);
        Timed render = () -> template.process(request.model, new StringWriter());
        Timed withModel = () -> template.process(readJson(model), new StringWriter());
        Timed parse = () -> new Template(request.name, request.template, configuration);
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("id", request.id);
        long[] rounds = render.rounds(renderings);
        answer.put("ns_per_op", rounds[ROUNDS / 2]);
        answer.put("ns_per_op_best", rounds[0]);
        answer.put("ns_per_op_worst", rounds[ROUNDS - 1]);
        answer.put("ns_per_op_with_json_model_parse", withModel.rounds(renderings)[ROUNDS / 2]);
        answer.put("template_parse_ns", parse.rounds(Math.max(1, renderings / 10))[ROUNDS / 2]);
        return answer;
    }

    private interface Timed {
        ThreadMXBean CPU = ManagementFactory.getThreadMXBean();

        void run() throws Exception;

        /** Nanoseconds of the processor an operation takes, round by round, in order of size. */
        default long[] rounds(int operations) throws Exception {
            long warm = System.nanoTime() + 3_000_000_000L;
            for (int i = 0; i < operations || System.nanoTime() < warm; i++) {
                run();
            }
            long[] rounds = new long[ROUNDS];
            for (int round = 0; round < ROUNDS; round++) {
                long start = CPU.getCurrentThreadCpuTime();
                for (int i = 0; i < operations; i++) {
                    run();
                }
                rounds[round] = (CPU.getCurrentThreadCpuTime() - start) / operations;
            }
            Arrays.sort(rounds);
            return rounds;
        }
    }

    /** What is to be rendered, how, with what. */
    private static final class Request {
        /** Configurations are expensive to make; those of requests without templates of their own are alike. */
        private static final Map<Object, Configuration> known = new HashMap<>();

        Object id;
        String name;
        String template;
        Object model;
        Map<String, Object> settings;
        Map<String, Object> templates;

        @SuppressWarnings("unchecked")
        static Request parse(String line) throws IOException {
            Map<String, Object> fields = (Map<String, Object>) readJson(line);
            Request request = new Request();
            request.id = fields.get("id");
            request.name = (String) fields.getOrDefault("name", "template.ftl");
            request.template = (String) fields.getOrDefault("template", "");
            request.model = fields.getOrDefault("model", Map.of());
            request.settings = (Map<String, Object>) fields.getOrDefault("settings", Map.of());
            request.templates = (Map<String, Object>) fields.getOrDefault("templates", Map.of());
            return request;
        }

        Configuration configuration() throws Exception {
            if (!templates.isEmpty() || settings.containsKey("shared_variables")) {
                return newConfiguration();
            }
            Configuration configuration = known.get(settings);
            if (configuration == null) {
                configuration = newConfiguration();
                known.put(settings, configuration);
            }
            return configuration;
        }

        @SuppressWarnings("unchecked")
        private Configuration newConfiguration() throws Exception {
            Version version = new Version((String) settings.getOrDefault("incompatible_improvements", "2.3.31"));
            Configuration configuration = new Configuration(version);
            configuration.setObjectWrapper(new DefaultObjectWrapperBuilder(version).build());
            configuration.setDefaultEncoding("UTF-8");
            configuration.setTemplateExceptionHandler(TemplateExceptionHandler.RETHROW_HANDLER);
            configuration.setLogTemplateExceptions(false);
            configuration.setNewBuiltinClassResolver(TemplateClassResolver.ALLOWS_NOTHING_RESOLVER);
            StringTemplateLoader loader = new StringTemplateLoader();
            if (!templates.isEmpty()) {
                loader.putTemplate(name, template);
            }
            for (Map.Entry<String, Object> entry : templates.entrySet()) {
                loader.putTemplate(entry.getKey(), (String) entry.getValue());
            }
            configuration.setTemplateLoader(loader);
            configuration.setLocalizedLookup(false);
            for (Map.Entry<String, Object> setting : settings.entrySet()) {
                if (setting.getKey().equals("shared_variables")) {
                    for (Map.Entry<String, Object> shared : ((Map<String, Object>) setting.getValue()).entrySet()) {
                        configuration.setSharedVariable(shared.getKey(), shared.getValue());
                    }
                } else if (!setting.getKey().equals("incompatible_improvements")) {
                    configuration.setSetting(setting.getKey(), (String) setting.getValue());
                }
            }
            return configuration;
        }
    }

    /** Fails when a template prints without end. */
    private static final class BoundedWriter extends Writer {
        private final StringBuilder text = new StringBuilder();

        @Override
        public void write(char[] chars, int start, int length) throws IOException {
            if (text.length() + length > MAX_OUTPUT_CHARS || Thread.currentThread().isInterrupted()) {
                throw new IOException("the output is longer than " + MAX_OUTPUT_CHARS + " characters");
            }
            text.append(chars, start, length);
        }

        @Override
        public void flush() {}

        @Override
        public void close() {}

        @Override
        public String toString() {
            return text.toString();
        }
    }

    private static Object readJson(String text) throws IOException {
        try (JsonReader reader = new JsonReader(new StringReader(text))) {
            return readValue(reader);
        }
    }

    private static Object readValue(JsonReader reader) throws IOException {
        switch (reader.peek()) {
            case BEGIN_OBJECT:
                Map<String, Object> members = new LinkedHashMap<>();
                reader.beginObject();
                while (reader.hasNext()) {
                    String name = reader.nextName();
                    members.put(name, readValue(reader));
                }
                reader.endObject();
                return members;
            case BEGIN_ARRAY:
                List<Object> items = new ArrayList<>();
                reader.beginArray();
                while (reader.hasNext()) {
                    items.add(readValue(reader));
                }
                reader.endArray();
                return items;
            case NUMBER:
                return exactNumber(reader.nextString());
            case BOOLEAN:
                return reader.nextBoolean();
            case NULL:
                reader.nextNull();
                return null;
            default:
                return reader.nextString();
        }
    }

    /** Integers as the smallest type that holds them, as Java programs would have them; the rest as exact decimals. */
    private static Number exactNumber(String text) {
        if (text.indexOf('.') >= 0 || text.indexOf('e') >= 0 || text.indexOf('E') >= 0) {
            return new BigDecimal(text);
        }
        BigInteger integer = new BigInteger(text);
        if (integer.bitLength() < Integer.SIZE) {
            return integer.intValue();
        }
        if (integer.bitLength() < Long.SIZE) {
            return integer.longValue();
        }
        return integer;
    }

    private static String json(Object value) throws IOException {
        StringWriter text = new StringWriter();
        JsonWriter writer = new JsonWriter(text);
        writer.setHtmlSafe(false);
        writer.setSerializeNulls(true);
        writeValue(writer, value);
        return text.toString();
    }

    @SuppressWarnings("unchecked")
    private static void writeValue(JsonWriter writer, Object value) throws IOException {
        if (value instanceof Map) {
            writer.beginObject();
            for (Map.Entry<String, Object> member : ((Map<String, Object>) value).entrySet()) {
                writer.name(member.getKey());
                writeValue(writer, member.getValue());
            }
            writer.endObject();
        } else if (value instanceof List) {
            writer.beginArray();
            for (Object item : (List<Object>) value) {
                writeValue(writer, item);
            }
            writer.endArray();
        } else if (value instanceof Number) {
            writer.value((Number) value);
        } else if (value instanceof Boolean) {
            writer.value((Boolean) value);
        } else if (value == null) {
            writer.nullValue();
        } else {
            writer.value(loneSurrogatesReplaced((String) value));
        }
    }

    /** UTF-8 has no half of a surrogate pair; the encoder would make it a question mark. */
    private static String loneSurrogatesReplaced(String text) {
        StringBuilder clean = null;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
                i++;
            } else if (Character.isSurrogate(c)) {
                clean = clean == null ? new StringBuilder(text) : clean;
                clean.setCharAt(i, '\uFFFD');
            }
        }
        return clean == null ? text : clean.toString();
    }
}
