//! Verifiers that a real Postgres made, the odd corners of SASLprep included.

/// `create role … password …` on Postgres 15, then `pg_authid.rolpassword`.
pub(super) const POSTGRES_15: [(&str, &str); 14] = [
    (
        "secret",
        "SCRAM-SHA-256$4096:HfCi6NPGPOUvduFJsNb1CA==$WudgcNwJeL/MH9kRezPvX8VBYZTNArQ7RyQjbkYPcvI=:EPvbJGFS5x0iIFSlLyymbscD43JObiKrOS1RHvy5T/E=",
    ),
    (
        "p\u{e4}ssw\u{f6}rd",
        "SCRAM-SHA-256$4096:1y2vRb/PsylHuttFxrLrMw==$UZN+C9qdmtP4dRIpOmejlPl5h2VCgwgG/7A87Us3ipc=:yD1ps773bZYkvh+mUvjvGOFrz9KWlCdF4K1ZAbyf7Kk=",
    ),
    // Mapped to nothing.
    (
        "I\u{ad}X",
        "SCRAM-SHA-256$4096:pVRn+wyvZC+6HSZTyWl2rg==$Rcx0YODq1AmugLaU3xRlEu9fllanUkBIJLYqEkNSgl8=:Ms1GC/cCFAw5BZ0wiuYkRykXqjvxtcHDHGNiMXg3tpw=",
    ),
    // Nothing left of it: used raw.
    (
        "\u{ad}\u{ad}",
        "SCRAM-SHA-256$4096:bY5FQUQ/uLUHwQQC7GvIuQ==$CU0ziSVwwk68ZQw344OnBaTLxUW0Oa9kFMW2gD9ZWNM=:qikIw9aWX2AFzjXHte2pn20THLNfyKXGAJ57fGz7Lxs=",
    ),
    // ROMAN NUMERAL NINE becomes IX.
    (
        "\u{2168}",
        "SCRAM-SHA-256$4096:6C++SmclWtoBwS9Wmal0/w==$HcvYyjzE+1QcASe/LljIfAebZ95mEoKYUWZ+c55OCBY=:TeP1jPfiQb3C9dYFJX57PRre1d8LWl6K9NFbjHjFC04=",
    ),
    (
        "a\u{a0}b",
        "SCRAM-SHA-256$4096:TK4TrG4OiQH5cFJb2jJtxg==$/BLVWudTgIcnGm+gAu3f1VNzf/zAyGubwlIGKft8NyE=:B7gLAA/bdxkBI/kVFd2uDxGMP1094dbZRfVYJ07v8Pw=",
    ),
    // Ends left-to-right: forbidden, used raw.
    (
        "\u{627}1",
        "SCRAM-SHA-256$4096:/tsd88GcBw6jbh7gZCGzTw==$Mq4LqawLnGAPJyAPyVe6eigxoou9Pn8DnVs8p7W7MAs=:Rk1QC0pnwzz/iNGV6rUo6GNuP1II7/6MEvXLs1bLzh0=",
    ),
    // Forbidden before, but not after, normalization: used raw.
    (
        "\u{340}x",
        "SCRAM-SHA-256$4096:TvAbAfOUcA5uRKFhWoIKfQ==$3kSel+BDjXBtENqkmnBFv0IJZV07YfgW7aXnT4a5v9k=:bFZyXfetdKcjybOZ0Y+Z+UQ+d46HXa9kwmQlh2p5MKg=",
    ),
    (
        "\u{1f130}x",
        "SCRAM-SHA-256$4096:6eXzOh6s0j7frFWG2BPnQg==$H15/eeFw4z0yjTrbNkzOKApqhQnYdkdjeYdsTeSnBDs=:ghPgjRICrN1TovxL6OWK4qGiGOugWR6t184iOIgBLzQ=",
    ),
    (
        "pass\u{301}",
        "SCRAM-SHA-256$4096:ZQEmIR4eKbTk4xODe/o9rg==$soXXmOFbP7l2fLkLGMWpANSLC2DJ6k2yQYA268PKSo0=:WTTE7ln7rDVUabn5zr6ATjF0d5B8Aa6lNlPGeFKS52k=",
    ),
    (
        "\u{aa}",
        "SCRAM-SHA-256$4096:IQgL9Kq5+20tGoSzyfIyxA==$9UzhHCXVNS9ZKvzBiP1BAUsg98AYnAKYl11PnixIJhs=:s5V7sOQpVoz85IXWKC/R3eJdoiBxXvjX0Tgb0S2rP9M=",
    ),
    (
        "tab\tpw",
        "SCRAM-SHA-256$4096:LYds0qrEuRkaKTh9CwnEtg==$yxyLPeSsIOrm850IhyvQz7ob8DY+plNUDvHVd0KY0v8=:gm5C4oS834BKJmlibeZ2nfjknDbQ0BPfvnhJTeRmoqA=",
    ),
    (
        "\u{627}\u{644}\u{628}",
        "SCRAM-SHA-256$4096:lst+m06gUeB9CSKq6Rt7fg==$BCmPiluqFMyqQsB6D3NZYr2NNPISM6B02JXy81fAaSk=:5RJ3REk47QbJ8PdKCxR2jE7Fjm8woeghqFFBuzB7VfQ=",
    ),
    (
        "\u{1f600} smile",
        "SCRAM-SHA-256$4096:IzQlYHpr24moqE69ozD3/g==$nEKmU+p/0bb2Tmflc5I/IUyXqn1xqbOH0RZB1Tsqirc=:bhWr+/7WMPl9/Eal1P8/TrMUZKqtlt5DjGfWf3wX2uM=",
    ),
];
