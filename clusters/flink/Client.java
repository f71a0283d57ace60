package dev.penstock;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Array;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;

/**
 * Flink's command line, run once, and started before it is known what for. Until then it loads what every program needs:
 * it plans an INSERT that goes nowhere. Then it waits for a line with its arguments, each in base64, on its standard
 * input; at the end of that it ends. Flink is reached by reflection, so that one build serves all its versions.
 */
public final class Client {
    private static final String CLI = "org.apache.flink.client.cli.CliFrontend";
    private static final String[] LATER = {
        CLI,
        "org.apache.flink.client.program.PackagedProgram",
        "org.apache.flink.client.program.StreamContextEnvironment",
        "org.apache.flink.client.program.rest.RestClusterClient",
        "org.apache.flink.runtime.rest.RestClient",
        "org.apache.flink.streaming.api.graph.StreamingJobGraphGenerator",
        "org.apache.flink.runtime.jobgraph.JobGraph"
    };

    public static void main(String[] none) throws Exception {
        try {
            load();
        } catch (Throwable error) {
            // It is only slower then; what is wrong will be said by the program that needs it.
        }
        String line = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII)).readLine();
        if (line == null) {
            System.exit(1);
        }
        List<String> arguments = new ArrayList<>();
        for (String word : line.split(" ", -1)) {
            arguments.add(new String(Base64.getDecoder().decode(word), StandardCharsets.UTF_8));
        }
        Object given = arguments.toArray(new String[0]);
        Class.forName(CLI).getMethod("main", String[].class).invoke(null, given);
    }

    private static void load() throws Exception {
        for (String name : LATER) {
            Class.forName(name);
        }
        Class<?> settings = Class.forName("org.apache.flink.table.api.EnvironmentSettings");
        Class<?> tables = Class.forName("org.apache.flink.table.api.TableEnvironment");
        Class<?> details = Class.forName("org.apache.flink.table.api.ExplainDetail");
        Object streaming = settings.getMethod("inStreamingMode").invoke(null);
        Object table = tables.getMethod("create", settings).invoke(null, streaming);
        for (String name : new String[] {"datagen", "blackhole"}) {
            String ddl = "CREATE TEMPORARY TABLE " + name + " (a BIGINT, b STRING) WITH ('connector' = '" + name + "')";
            tables.getMethod("executeSql", String.class).invoke(table, ddl);
        }
        Object explained = Array.newInstance(details, 0);
        String insert = "INSERT INTO blackhole SELECT COUNT(*), b FROM datagen GROUP BY b";
        tables.getMethod("explainSql", String.class, explained.getClass()).invoke(table, insert, explained);
    }
}
