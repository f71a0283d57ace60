package dev.penstock.faults;

import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.List;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.StatefulSinkWriter;
import org.apache.flink.api.connector.sink2.SupportsWriterState;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.core.io.SimpleVersionedSerializer;
import org.apache.flink.table.data.RowData;

/**
 * Writes a line for all that happens to it, at once: "KIND milliseconds flink-job-id operator number value".
 *
 * <p>V: a value was written; number counts from 1 in each life of the task. S: the state of checkpoint `number` was
 * taken after `value` ("-": no value since the restore). R: a task began; number is the checkpoint that it was restored
 * from ("-": none), and value what its own state says: "operator:value" of whoever made that state.
 */
public final class AuditSink implements Sink<RowData>, SupportsWriterState<RowData, String> {
  private final String path;
  private final String operator;

  AuditSink(String path, String operator) {
    this.path = path;
    this.operator = operator;
  }

  @Override
  public Writer createWriter(WriterInitContext context) throws IOException {
    return restoreWriter(context, List.of());
  }

  @Override
  public Writer restoreWriter(WriterInitContext context, Collection<String> states) throws IOException {
    return new Writer(context, states.isEmpty() ? "-" : String.join(",", states));
  }

  @Override
  public SimpleVersionedSerializer<String> getWriterStateSerializer() {
    return new Text();
  }

  private final class Writer implements StatefulSinkWriter<RowData, String> {
    private final FileOutputStream out;
    private final String job;
    private String restored;
    private long lines;
    private Long last;

    Writer(WriterInitContext context, String restored) throws IOException {
      this.out = new FileOutputStream(path, true);
      this.job = context.getJobInfo().getJobId().toString();
      this.restored = restored;
      String from = context.getRestoredCheckpointId().isPresent()
          ? String.valueOf(context.getRestoredCheckpointId().getAsLong()) : "-";
      line("R", from, restored);
    }

    private void line(String kind, Object number, Object value) throws IOException {
      String text = String.join(" ", kind, String.valueOf(System.currentTimeMillis()), job, operator,
          String.valueOf(number), String.valueOf(value)) + "\n";
      out.write(text.getBytes(StandardCharsets.US_ASCII));
    }

    @Override
    public void write(RowData row, Context context) throws IOException {
      last = row.getLong(0);
      line("V", ++lines, last);
    }

    @Override
    public void flush(boolean endOfInput) {}

    @Override
    public List<String> snapshotState(long checkpoint) throws IOException {
      line("S", checkpoint, last == null ? "-" : last);
      if (last != null) {
        restored = operator + ":" + last;
      }
      return restored.equals("-") ? List.of() : List.of(restored);
    }

    @Override
    public void close() throws IOException {
      out.close();
    }
  }

  private static final class Text implements SimpleVersionedSerializer<String> {
    @Override
    public int getVersion() {
      return 1;
    }

    @Override
    public byte[] serialize(String text) {
      return text.getBytes(StandardCharsets.US_ASCII);
    }

    @Override
    public String deserialize(int version, byte[] bytes) {
      return new String(bytes, StandardCharsets.US_ASCII);
    }
  }
}
