package dev.penstock.faults;

import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;

/**
 * Counts in Flink state, and appends each count to a file at once: "milliseconds flink-job-id count". A second
 * writer, a lost count or a step back further than the restore point can be read from the file alone.
 */
public final class Counter {
  private Counter() {}

  public static void main(String[] args) throws Exception {
    StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
    env.setParallelism(1);
    env.fromSequence(0, Long.MAX_VALUE)
        .uid("numbers")
        .map(n -> { Thread.sleep(50); return 0L; })
        .returns(Types.LONG)
        .uid("slow")
        .keyBy(key -> key)
        .process(new Count(args[0]))
        .uid("count")
        .sinkTo(new DiscardingSink<>())
        .uid("sink");
    env.execute();
  }

  private static final class Count extends KeyedProcessFunction<Long, Long, Long> {
    private final String path;
    private transient ValueState<Long> count;
    private transient FileOutputStream out;

    Count(String path) {
      this.path = path;
    }

    @Override
    public void open(OpenContext context) throws IOException {
      count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
      out = new FileOutputStream(path, true);
    }

    @Override
    public void close() throws IOException {
      if (out != null) {
        out.close();
      }
    }

    @Override
    public void processElement(Long key, Context context, Collector<Long> collector) throws Exception {
      long now = count.value() == null ? 1 : count.value() + 1;
      String line = System.currentTimeMillis() + " " + getRuntimeContext().getJobInfo().getJobId() + " " + now + "\n";
      out.write(line.getBytes(StandardCharsets.US_ASCII));
      count.update(now);
      collector.collect(now);
    }
  }
}
