package dev.penstock.faults;

import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.OptionalLong;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;

/**
 * Counts in Flink state, and appends a line for all that happens to it to a file at once: "KIND milliseconds
 * flink-job-id operator number value", as the audit sink of the SQL jobs does. Arguments: the file, what to do (run;
 * bounded N: ends after N counts; throws N: fails after N counts of each life; refuses: main itself fails), and the
 * name that the job gives itself, if it does.
 */
public final class Counter {
  private Counter() {}

  public static void main(String[] args) throws Exception {
    String[] how = args[1].split(" ");
    long limit = how.length > 1 ? Long.parseLong(how[1]) : Long.MAX_VALUE;
    if (how[0].equals("refuses")) {
      throw new IllegalStateException("this program does not start");
    }
    StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
    env.setParallelism(1);
    env.fromSequence(1, how[0].equals("bounded") ? limit : Long.MAX_VALUE)
        .uid("numbers")
        .map(n -> { Thread.sleep(50); return 0L; })
        .returns(Types.LONG)
        .uid("slow")
        .keyBy(key -> key)
        .process(new Count(args[0], how[0].equals("throws") ? limit : Long.MAX_VALUE))
        .uid("count")
        .sinkTo(new DiscardingSink<>())
        .uid("sink");
    if (args.length > 2) {
      env.execute(args[2]);
    } else {
      env.execute();
    }
  }

  private static final class Count extends KeyedProcessFunction<Long, Long, Long> implements CheckpointedFunction {
    private final String path;
    private final long throwsAfter;
    private transient ValueState<Long> count;
    private transient FileOutputStream out;
    private transient String restored;
    private transient long lines;
    private transient Long last;

    Count(String path, long throwsAfter) {
      this.path = path;
      this.throwsAfter = throwsAfter;
    }

    @Override
    public void initializeState(FunctionInitializationContext context) {
      OptionalLong from = context.getRestoredCheckpointId();
      restored = from.isPresent() ? String.valueOf(from.getAsLong()) : "-";
    }

    @Override
    public void open(OpenContext context) throws IOException {
      count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
      out = new FileOutputStream(path, true);
      line("R", restored, "-");
    }

    private void line(String kind, Object number, Object value) throws IOException {
      String text = String.join(" ", kind, String.valueOf(System.currentTimeMillis()),
          getRuntimeContext().getJobInfo().getJobId().toString(), "count", String.valueOf(number),
          String.valueOf(value)) + "\n";
      out.write(text.getBytes(StandardCharsets.US_ASCII));
    }

    @Override
    public void snapshotState(FunctionSnapshotContext context) throws IOException {
      line("S", context.getCheckpointId(), last == null ? "-" : last);
    }

    @Override
    public void close() throws IOException {
      if (out != null) {
        out.close();
      }
    }

    @Override
    public void processElement(Long key, Context context, Collector<Long> collector) throws Exception {
      if (lines >= throwsAfter) {
        throw new IllegalStateException("a record that this program cannot take");
      }
      last = count.value() == null ? 1 : count.value() + 1;
      line("V", ++lines, last);
      count.update(last);
      collector.collect(last);
    }
  }
}
