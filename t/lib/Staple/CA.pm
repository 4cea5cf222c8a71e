# Licensed under the Apache License, Version 2.0; see LICENSE.

# A throwaway CA made with the openssl command: a root, an intermediate that
# issues, and leaves with whatever the test needs in them. Keys are P-256 and
# shared by the leaves, because making them is what takes time.

package Staple::CA;

use strict;
use warnings;

use File::Path qw(make_path);
use Staple::Work qw(work_dir build_dir write_file read_file run);

my $made = 0;    # CAs of this test, for names and serials that differ

sub _openssl
{
    my (@args) = @_;
    my ($exit, $out) = run('openssl', @args);

    die "openssl @args: exit $exit\n$out" if $exit;
    return $out;
}

# A CA of its own directory; name sets the subjects apart.
sub new
{
    my ($class, %o) = @_;
    my $number = ++$made;
    my $self = bless {
        name   => $o{name} // "Test $number",
        dir    => work_dir() . "/ca$number",
        serial => $number * 0x10000,
    }, $class;

    write_file("$self->{dir}/index.txt", '');
    write_file("$self->{dir}/index.txt.attr", "unique_subject = no\n");
    my $authority = "basicConstraints=critical,CA:TRUE\n"
        . "keyUsage=critical,keyCertSign,cRLSign,digitalSignature\n"
        . "subjectKeyIdentifier=hash\n";
    $self->{root} = $self->_issue(
        file => 'root', subject => "/CN=$self->{name} root",
        key => $self->_key('root-key', 'ec'), ext => $authority);
    $self->{authority} = $authority;
    $self->{kind} = $o{key} // 'ec';
    $self->intermediate;
    return $self;
}

# The intermediate, made anew with the same name and key; leaves that are issued
# from now on have it in their chain. Options: ocsp (its URI), issuer_at (where
# the root's certificate can be fetched, with ocsp), must_staple, file.
# Returns a hash as leaf() does, without what only leaves have.
sub intermediate
{
    my ($self, %o) = @_;
    my $ext = $self->{authority};

    $ext .= "authorityInfoAccess=OCSP;URI:$o{ocsp}"
        . ($o{issuer_at} ? ",caIssuers;URI:$o{issuer_at}" : '') . "\n"
        if $o{ocsp};
    $ext .= "tlsfeature=status_request\n" if $o{must_staple};
    return $self->{intermediate} = $self->_issue(
        file => $o{file} // 'intermediate',
        subject => "/CN=$self->{name} intermediate",
        key => $self->_key('intermediate-key', $self->{kind}),
        ext => $ext, issuer => $self->{root});
}

# The file with the trust anchor.
sub root { return $_[0]{root}{cert} }

# For a responder that answers for the intermediate.
sub root_issuer { return @{ $_[0]{root} }{qw(cert key)} }

# What answers for the leaves: certificate and key of the intermediate.
sub issuer { return @{ $_[0]{intermediate} }{qw(cert key)} }

# A leaf. Options:
#   name         host name, subject and subjectAltName      (www.test)
#   alt          more names, a list
#   key          ec, p384 or rsa                             (ec)
#   ocsp         URI or list of URIs for the AIA             (none)
#   must_staple  with the TLS feature status_request
#   self_signed  by itself instead of the intermediate
#   ext          more lines of extensions
#   days         how long it is valid; 0: it ends when it is made (90)
#   csr          file of a request: its subject and key; `key` is undef then
#   serial       upper case hex                              (the next one)
# Returns a hash: name, cert, key, chain (leaf and intermediate in one file),
# serial (upper case hex), issuer (its certificate), and for httpd, conf (the
# lines for a virtual host).
sub leaf
{
    my ($self, %o) = @_;
    my $name = $o{name} // 'www.test';
    my @names = ($name, @{ $o{alt} // [] });
    my @ocsp = ref $o{ocsp} ? @{ $o{ocsp} } : $o{ocsp} // ();
    my $ext = "basicConstraints=CA:FALSE\n"
        . "keyUsage=critical,digitalSignature,keyEncipherment\n"
        . "extendedKeyUsage=serverAuth\n"
        . 'subjectAltName=' . join(',', map { "DNS:$_" } @names) . "\n";

    $ext .= 'authorityInfoAccess=' . join(',', map { "OCSP;URI:$_" } @ocsp)
        . "\n" if @ocsp;
    $ext .= "tlsfeature=status_request\n" if $o{must_staple};
    $ext .= $o{ext} if $o{ext};
    my $kind = $o{key} // 'ec';
    my $leaf = $self->_issue(
        file => sprintf('leaf%X', $self->{serial} + 1), subject => "/CN=$name",
        key => $o{csr} ? undef : $self->_key("leaf-$kind-key", $kind),
        csr => $o{csr}, ext => $ext, days => $o{days}, serial => $o{serial},
        issuer => $o{self_signed} ? undef : $self->{intermediate});

    $leaf->{name} = $name;
    $leaf->{chain} = "$leaf->{cert}-chain";
    write_file($leaf->{chain}, join '', map { read_file($_) } $leaf->{cert},
               $o{self_signed} ? () : $self->{intermediate}{cert});
    $leaf->{conf} = "SSLCertificateFile $leaf->{chain}\n"
        . "SSLCertificateKeyFile $leaf->{key}\n" if $leaf->{key};
    $self->_enter($leaf->{serial}, "/CN=$name") if !$o{self_signed};
    return $leaf;
}

# So many at once, for host1.test and on, of one key; options: ocsp, key. As
# leaf() returns them, but cert is the chain, and `openssl ocsp` does not know
# them: t/tools/leaves makes all in one process.
sub leaves
{
    my ($self, $count, %o) = @_;
    my $kind = $o{key} // 'ec';
    my $key = $self->_key("leaf-$kind-key", $kind);
    my $first = $self->{serial} + 1;
    my $dir = "$self->{dir}/leaves$first";

    make_path($dir);
    my ($exit, $out) = run(build_dir() . '/t/tools/leaves', $self->issuer,
                           $key, $o{ocsp}, $dir, $first, $count);
    die "leaves: $out\n" if $exit;
    $self->{serial} += $count;
    return map {
        my $chain = "$dir/host$_.test.pem";
        my $serial = sprintf '%X', $first + $_ - 1;

        { name => "host$_.test", cert => $chain, chain => $chain, key => $key,
          serial => length($serial) % 2 ? "0$serial" : $serial,
          issuer => $self->{intermediate}{cert},
          conf => "SSLCertificateFile $chain\nSSLCertificateKeyFile $key\n" }
    } 1 .. $count;
}

# A line in the index that `openssl ocsp` answers from; in a new file, because
# it would not notice a change within the same second.
sub _enter
{
    my ($self, $serial, $subject) = @_;
    my $index = "$self->{dir}/index.txt";
    my $line = join "\t", 'V', '491231235959Z', '', $serial, 'unknown',
        $subject;

    write_file("$index.new", read_file($index) . "$line\n");
    rename "$index.new", $index or die "cannot rename to $index: $!\n";
}

# A key of that kind; made once a CA for each name.
sub _key
{
    my ($self, $name, $kind) = @_;
    my $path = "$self->{dir}/$name.pem";

    if (!-e $path) {
        my $curve = $kind eq 'p384' ? 'P-384' : 'P-256';
        _openssl('genpkey', '-out', $path, $kind eq 'rsa'
                 ? ('-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048')
                 : ('-algorithm', 'EC', '-pkeyopt',
                    "ec_paramgen_curve:$curve"));
    }
    return $path;
}

sub _issue
{
    my ($self, %o) = @_;
    my $base = "$self->{dir}/$o{file}";
    my $serial = sprintf '%X', ++$self->{serial};

    $serial = $o{serial} // $serial;
    $serial = "0$serial" if length($serial) % 2;
    write_file("$base.req.cnf",
               "[req]\ndistinguished_name=dn\n[dn]\n[ext]\n$o{ext}");
    _openssl('req', '-new', '-config', "$base.req.cnf", '-key', $o{key},
             '-subj', $o{subject}, '-out', "$base.csr") if !$o{csr};
    _openssl('x509', '-req', '-in', $o{csr} // "$base.csr",
             '-out', "$base.pem", '-days', $o{days} // 90, '-sha256',
             '-set_serial', "0x$serial",
             '-extfile', "$base.req.cnf", '-extensions', 'ext',
             $o{issuer} ? ('-CA', $o{issuer}{cert}, '-CAkey', $o{issuer}{key})
                        : ('-signkey', $o{key}));
    return {
        cert => "$base.pem", key => $o{key}, serial => $serial,
        issuer => $o{issuer} ? $o{issuer}{cert} : "$base.pem",
    };
}

1;
