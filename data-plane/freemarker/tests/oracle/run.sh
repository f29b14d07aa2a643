#!/usr/bin/env bash
# Runs Apache FreeMarker on requests from standard input; see README.md. Arguments are passed on.
# FREEMARKER_JAR and GSON_JAR name the jars where they are not those of Debian's packages.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
: "${FREEMARKER_JAR:=/usr/share/java/freemarker.jar}"
: "${GSON_JAR:=/usr/share/java/gson.jar}"
if ! command -v javac >/dev/null || [ ! -e "$FREEMARKER_JAR" ] || [ ! -e "$GSON_JAR" ]; then
    echo 'tests/oracle/install.sh installs Java, FreeMarker and Gson' >&2
    exit 2
fi
classes=${ORACLE_CLASSES:-$(cd "$here/../../../.." && pwd)/target/oracle}
jars=$FREEMARKER_JAR:$GSON_JAR
if [ ! -e "$classes/Reference.class" ] || [ "$here/Reference.java" -nt "$classes/Reference.class" ]; then
    mkdir -p "$classes"
    javac -nowarn -Xlint:none -XDsuppressNotes -encoding UTF-8 -cp "$jars" -d "$classes" "$here/Reference.java" >&2
fi
exec java -XX:+UseSerialGC -Xmx256m -Dfile.encoding=UTF-8 -cp "$classes:$jars" Reference "$@"
