-- Match within a time: orders with the payments that follow within ${MINUTES:-10} minutes (an interval join).
-- What is older than that leaves the state, so that it does not grow for ever.
CREATE TABLE orders (
  order_id INT,
  ordered_at TIMESTAMP(3),
  WATERMARK FOR ordered_at AS ordered_at - INTERVAL '5' SECOND
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '5',
  'fields.order_id.min' = '1',
  'fields.order_id.max' = '200'
);

CREATE TABLE payments (
  order_id INT,
  amount DECIMAL(10, 2),
  paid_at TIMESTAMP(3),
  WATERMARK FOR paid_at AS paid_at - INTERVAL '5' SECOND
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '5',
  'fields.order_id.min' = '1',
  'fields.order_id.max' = '200',
  'fields.amount.min' = '1',
  'fields.amount.max' = '100'
);

CREATE TABLE paid_orders (
  order_id INT,
  amount DECIMAL(10, 2),
  ordered_at TIMESTAMP(3),
  paid_at TIMESTAMP(3)
) WITH ('connector' = 'print');

INSERT INTO paid_orders
SELECT o.order_id, p.amount, o.ordered_at,
  CAST(p.paid_at AS TIMESTAMP(3)) -- a sink takes one event time
FROM orders AS o
JOIN payments AS p ON o.order_id = p.order_id
  AND p.paid_at BETWEEN o.ordered_at AND o.ordered_at + INTERVAL '${MINUTES:-10}' MINUTE;
