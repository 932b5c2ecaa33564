//! Certificates for servers that speak TLS, made by openssl.

use std::path::Path;
use std::process::Command;

/// An authority `ca.crt`, certificates `server.crt` for `host` and `client.crt` that it signed,
/// each with its `.key`, and another authority `stranger.crt`. `server.pem` is the server's
/// certificate and key in one.
pub fn make(directory: &Path, host: &str) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    for name in ["ca", "stranger"] {
        let (key_file, file) = (format!("{name}.key"), format!("{name}.crt"));
        let subject = format!("/CN={name}");
        let rest = ["-keyout", &key_file, "-out", &file, "-subj", &subject, "-days", "2"];
        openssl(directory, &[&["req", "-x509"], key.as_slice(), rest.as_slice()].concat());
    }
    for (name, host) in [("server", host), ("client", "teller")] {
        let [key_file, request, file] =
            ["key", "csr", "crt"].map(|suffix| format!("{name}.{suffix}"));
        let subject = format!("/CN={host}");
        let rest = ["-keyout", &key_file, "-out", &request, "-subj", &subject];
        openssl(directory, &[&["req"], key.as_slice(), rest.as_slice()].concat());
        let names = format!("subjectAltName=DNS:{host}\n");
        std::fs::write(directory.join("names"), names).expect("written");
        let signing = ["x509", "-req", "-in", &request, "-CA", "ca.crt", "-CAkey", "ca.key"];
        let rest = ["-CAcreateserial", "-out", &file, "-days", "2", "-extfile", "names"];
        openssl(directory, &[signing.as_slice(), rest.as_slice()].concat());
    }
    let read = |name| std::fs::read_to_string(directory.join(name)).expect("made before");
    let both = read("server.key") + &read("server.crt");
    std::fs::write(directory.join("server.pem"), both).expect("written");
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output();
    let output = output.expect("this test needs the openssl command: apt-get install openssl");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {complaint}");
}
