package conformance;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** Marks a method of a {@link Suite} as a test. */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.METHOD)
@interface Test {
    /**
     * True for what ZooKeeper itself does not promise: skipped unless the server
     * under test is Conclave.
     */
    boolean conclaveOnly() default false;
}
