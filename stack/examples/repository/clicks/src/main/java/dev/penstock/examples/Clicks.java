package dev.penstock.examples;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.util.Collector;

/** Counts made-up clicks by page; the counts are Flink state, so they survive a pause and a restart. */
public final class Clicks {
  private Clicks() {}

  public static void main(String[] args) throws Exception {
    StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
    env.fromSequence(0, Long.MAX_VALUE)
        .uid("numbers")
        .map(n -> { Thread.sleep(50); return n % 10; })
        .returns(Types.LONG)
        .uid("pages")
        .keyBy(page -> page)
        .process(new Count())
        .uid("count")
        .sinkTo(new DiscardingSink<>())
        .uid("sink");
    env.execute("clicks");
  }

  private static final class Count extends KeyedProcessFunction<Long, Long, Long> {
    private transient ValueState<Long> count;

    @Override
    public void open(OpenContext context) {
      count = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Types.LONG));
    }

    @Override
    public void processElement(Long page, Context context, Collector<Long> out) throws Exception {
      Long now = count.value();
      count.update(now == null ? 1 : now + 1);
      out.collect(count.value());
    }
  }
}
