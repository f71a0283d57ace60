package dev.penstock.tests;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * Says that it has been entered (FILE.entered, a line each time), waits for FILE.go, then runs under a name of its own, with
 * the configuration KEY=VALUE ... that follows FILE.
 */
public final class Waiting {
    public static void main(String[] args) throws Exception {
        Files.writeString(
                Path.of(args[0] + ".entered"), "entered\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        while (!Files.exists(Path.of(args[0] + ".go"))) {
            Thread.sleep(50);
        }
        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        Map<String, String> set = new HashMap<>();
        for (int i = 1; i < args.length; i++) {
            set.put(args[i].substring(0, args[i].indexOf('=')), args[i].substring(args[i].indexOf('=') + 1));
        }
        env.configure(Configuration.fromMap(set));
        env.fromSequence(1, Long.MAX_VALUE).sinkTo(new DiscardingSink<>());
        env.execute("a name of its own");
    }
}
