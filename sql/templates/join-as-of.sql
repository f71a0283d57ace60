-- Join as of then: each order with the rate that held when it was made (a temporal join by event time).
-- A change of a rate is a new row of its key; both sides need watermarks, and results wait for the slower one.
CREATE TABLE orders (
  order_id BIGINT,
  currency INT,
  amount DECIMAL(10, 2),
  ordered_at TIMESTAMP(3),
  WATERMARK FOR ordered_at AS ordered_at - INTERVAL '2' SECOND
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '10',
  'fields.currency.min' = '1',
  'fields.currency.max' = '5',
  'fields.amount.min' = '1',
  'fields.amount.max' = '100'
);

CREATE TABLE rate_changes (
  currency INT,
  rate DECIMAL(10, 4),
  changed_at TIMESTAMP(3),
  WATERMARK FOR changed_at AS changed_at - INTERVAL '2' SECOND
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '2',
  'fields.currency.min' = '1',
  'fields.currency.max' = '5',
  'fields.rate.min' = '1',
  'fields.rate.max' = '2'
);

CREATE TEMPORARY VIEW rates AS
SELECT currency, rate, changed_at
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY currency ORDER BY changed_at DESC) AS n
  FROM rate_changes
)
WHERE n = 1;

CREATE TABLE converted (
  order_id BIGINT,
  currency INT,
  amount DECIMAL(38, 6)
) WITH ('connector' = 'print');

INSERT INTO converted
SELECT o.order_id, o.currency, o.amount * r.rate
FROM orders AS o
JOIN rates FOR SYSTEM_TIME AS OF o.ordered_at AS r ON o.currency = r.currency;
