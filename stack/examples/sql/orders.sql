-- Orders made up by Flink itself, counted by minute and currency.
SET 'execution.checkpointing.interval' = '5 s';

CREATE TABLE orders (
  id       BIGINT,
  currency INT,
  price    DECIMAL(10, 2),
  ordered  AS LOCALTIMESTAMP,
  WATERMARK FOR ordered AS ordered - INTERVAL '1' SECOND
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '20',
  'fields.currency.min' = '1',
  'fields.currency.max' = '5'
);

CREATE TABLE revenue (
  minute_start TIMESTAMP(3),
  currency     INT,
  orders       BIGINT,
  total        DECIMAL(38, 2)
) WITH ('connector' = 'blackhole');

INSERT INTO revenue
SELECT window_start, currency, COUNT(*), SUM(price)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ordered), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, currency;
