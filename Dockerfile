# TinyOS and its debugger on Debian 13:
#     docker build -t tinyos-gdb . && docker run -it tinyos-gdb
# and its tests:
#     docker run -it tinyos-gdb scripts/test
# What is installed, and how, is up to scripts/setup alone, as everywhere else.
FROM debian:13
WORKDIR /tinyos
COPY . .
RUN scripts/setup && scripts/build
ENV PATH=/tinyos/.venv/bin:$PATH
CMD ["tinyos-repl"]
