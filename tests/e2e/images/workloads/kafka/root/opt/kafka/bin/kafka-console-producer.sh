#!/bin/sh
exec /opt/kafka/bin/kafka-java -Xmx128m kafka.tools.ConsoleProducer "$@"
