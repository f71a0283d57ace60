package dev.penstock;

import java.sql.Driver;
import java.util.Iterator;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;

import org.apache.flink.table.functions.ScalarFunction;

/**
 * A function that nobody calls. Flink makes one when a session is told of it, in the class loader with the jars of the
 * session: that loads the JDBC drivers in them, which is what tells Java's DriverManager of a driver.
 */
public class Drivers extends ScalarFunction {
    private static final long serialVersionUID = 1L;
    private static final int MOST_ERRORS = 20;

    public Drivers() {
        Iterator<Driver> drivers = ServiceLoader.load(Driver.class, Drivers.class.getClassLoader()).iterator();
        for (int errors = 0; errors < MOST_ERRORS;) {
            try {
                if (!drivers.hasNext()) {
                    return;
                }
                drivers.next();
            } catch (ServiceConfigurationError | LinkageError error) {
                errors++; // a driver that cannot be loaded here is no reason to leave out the others
            }
        }
    }

    public Integer eval() {
        return null;
    }
}
