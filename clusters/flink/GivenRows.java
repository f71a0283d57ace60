package dev.penstock;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

import org.apache.flink.api.common.functions.util.ListCollector;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.LookupTableSource;
import org.apache.flink.table.connector.source.lookup.LookupFunctionProvider;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.MapData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.LookupFunction;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.IntType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.util.SimpleUserCodeClassLoader;
import org.apache.flink.util.UserCodeClassLoader;

/**
 * The rows of a file in place of a table that a lookup join asks. None of Flink's own connectors answers lookups from a
 * file.
 */
public final class GivenRows implements DynamicTableSourceFactory {
    private static final ConfigOption<String> PATH = ConfigOptions.key("path").stringType().noDefaultValue();

    @Override
    public String factoryIdentifier() {
        return "penstock-given-rows";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return new HashSet<>(Arrays.asList(PATH, FactoryUtil.FORMAT));
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Collections.emptySet();
    }

    @Override
    public DynamicTableSource createDynamicTableSource(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        DecodingFormat<DeserializationSchema<RowData>> format =
                helper.discoverDecodingFormat(DeserializationFormatFactory.class, FactoryUtil.FORMAT);
        helper.validate();
        return new Source(helper.getOptions().get(PATH), format, context.getPhysicalRowDataType());
    }

    private static final class Source implements LookupTableSource {
        private final String path;
        private final DecodingFormat<DeserializationSchema<RowData>> format;
        private final DataType type;

        Source(String path, DecodingFormat<DeserializationSchema<RowData>> format, DataType type) {
            this.path = path;
            this.format = format;
            this.type = type;
        }

        @Override
        public LookupRuntimeProvider getLookupRuntimeProvider(LookupContext context) {
            List<LogicalType> types = type.getLogicalType().getChildren();
            int[] keys = Arrays.stream(context.getKeys()).mapToInt(key -> key[0]).toArray();
            LogicalType[] ofKeys = Arrays.stream(keys).mapToObj(key -> types.get(key).copy(true)).toArray(LogicalType[]::new);
            return LookupFunctionProvider.of(new Rows(path, format.createRuntimeDecoder(context, type), keys, ofKeys));
        }

        @Override
        public DynamicTableSource copy() {
            return new Source(path, format, type);
        }

        @Override
        public String asSummaryString() {
            return "given rows";
        }
    }

    /** All rows, by the values of the columns that are asked by. */
    public static final class Rows extends LookupFunction {
        private static final long serialVersionUID = 1L;
        private final String path;
        private final DeserializationSchema<RowData> schema;
        private final int[] keys;
        private final LogicalType[] types;
        private transient Map<List<Object>, List<RowData>> rows;

        Rows(String path, DeserializationSchema<RowData> schema, int[] keys, LogicalType[] types) {
            this.path = path;
            this.schema = schema;
            this.keys = keys;
            this.types = types;
        }

        @Override
        public void open(FunctionContext context) throws Exception {
            schema.open(new DeserializationSchema.InitializationContext() {
                @Override
                public MetricGroup getMetricGroup() {
                    return context.getMetricGroup();
                }

                @Override
                public UserCodeClassLoader getUserCodeClassLoader() {
                    return SimpleUserCodeClassLoader.create(Rows.class.getClassLoader());
                }
            });
            rows = new HashMap<>();
            Path file = new Path(path, "rows.json");
            try (BufferedReader lines = new BufferedReader(
                    new InputStreamReader(FileSystem.get(file.toUri()).open(file), StandardCharsets.UTF_8))) {
                for (String line; (line = lines.readLine()) != null;) {
                    List<RowData> read = new ArrayList<>();
                    schema.deserialize(line.getBytes(StandardCharsets.UTF_8), new ListCollector<>(read));
                    for (RowData row : read) {
                        rows.computeIfAbsent(values(row, keys), key -> new ArrayList<>()).add(row);
                    }
                }
            }
        }

        @Override
        public Collection<RowData> lookup(RowData asked) throws IOException {
            List<Object> key = values(asked, null);
            return key.contains(null) ? Collections.emptyList() : rows.getOrDefault(key, Collections.emptyList());
        }

        /** Of the columns at `places` of a row, or of all that it has. */
        private List<Object> values(RowData row, int[] places) {
            List<Object> found = new ArrayList<>();
            for (int at = 0; at < types.length; at++) {
                int place = places == null ? at : places[at];
                found.add(comparable(RowData.createFieldGetter(types[at], place).getFieldOrNull(row), types[at]));
            }
            return found;
        }

        /**
         * A value such that two that are equal in SQL are equal, however Flink keeps them: a row of the format and one
         * that a join has made are of different classes. Blanks at the end of a CHAR do not count: a database that is
         * really asked does not count them.
         */
        private static Object comparable(Object value, LogicalType type) {
            if (value == null) {
                return null;
            }
            List<LogicalType> inner = type.getChildren();
            switch (type.getTypeRoot()) {
                case CHAR:
                    return value.toString().replaceAll(" +$", "");
                case BINARY:
                case VARBINARY:
                    return Arrays.toString((byte[]) value);
                case DECIMAL:
                    return ((DecimalData) value).toBigDecimal().stripTrailingZeros();
                case ARRAY:
                    return elements((ArrayData) value, inner.get(0));
                case MAP:
                    return entries((MapData) value, inner.get(0), inner.get(1));
                case MULTISET:
                    return entries((MapData) value, inner.get(0), new IntType());
                case ROW:
                case STRUCTURED_TYPE:
                    List<Object> fields = new ArrayList<>();
                    for (int at = 0; at < inner.size(); at++) {
                        RowData.FieldGetter field = RowData.createFieldGetter(inner.get(at), at);
                        fields.add(comparable(field.getFieldOrNull((RowData) value), inner.get(at)));
                    }
                    return fields;
                default:
                    return value;
            }
        }

        private static List<Object> elements(ArrayData array, LogicalType type) {
            ArrayData.ElementGetter element = ArrayData.createElementGetter(type);
            List<Object> found = new ArrayList<>();
            for (int at = 0; at < array.size(); at++) {
                found.add(comparable(element.getElementOrNull(array, at), type));
            }
            return found;
        }

        private static Map<Object, Object> entries(MapData map, LogicalType ofKeys, LogicalType ofValues) {
            List<Object> keys = elements(map.keyArray(), ofKeys);
            List<Object> values = elements(map.valueArray(), ofValues);
            Map<Object, Object> found = new HashMap<>();
            for (int at = 0; at < keys.size(); at++) {
                found.put(keys.get(at), values.get(at));
            }
            return found;
        }
    }
}
