//! What a Rust source names: the paths in it from their roots, where it is async, where it is unsafe.
//!
//! Names are resolved as far as the rules need: groups and nested trees of `use` are flattened, `self` and `super` are followed
//! from the file's own module, and macros, whose insides have no syntax yet, are searched as tokens for anything that looks
//! like a path. A name that an earlier `use` brought in is judged at that `use`.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, UseTree};

/// One path, as far as it could be resolved.
#[derive(Clone, Debug)]
pub(super) struct Mention {
    /// From the root: `crate`, or a crate's name.
    pub(super) segments: Vec<String>,
    /// Whether names are taken through it that it doesn't spell out: it is imported itself, or with `*`.
    pub(super) opens: bool,
    /// Whether only tests are built with it.
    pub(super) in_test: bool,
    /// From 1.
    pub(super) line: usize,
}

impl Mention {
    /// Whether these are its first segments.
    pub(super) fn starts_with(&self, segments: &[&str]) -> bool {
        self.segments.len() >= segments.len()
            && self
                .segments
                .iter()
                .zip(segments)
                .all(|(left, right)| left == right)
    }

    /// Whether it is the beginning of `path`.
    pub(super) fn is_start_of(&self, path: &[&str]) -> bool {
        self.segments.len() <= path.len()
            && self
                .segments
                .iter()
                .zip(path)
                .all(|(left, right)| left == right)
    }
}

/// What one source names.
#[derive(Debug, Default)]
pub(super) struct Mentions {
    pub(super) paths: Vec<Mention>,
    /// Lines, outside tests, with something async.
    pub(super) async_lines: Vec<usize>,
    /// Lines with the word `unsafe`.
    pub(super) unsafe_lines: Vec<usize>,
    /// Modules in files of their own that only tests are built with.
    pub(super) test_modules: Vec<Vec<String>>,
}

impl Mentions {
    /// Reads a source. `file` is its path from the workspace's root, `in_test` whether only tests are built with it.
    pub(super) fn of_source(file: &str, text: &str, in_test: bool) -> Result<Mentions, syn::Error> {
        let syntax = syn::parse_file(text)?;
        let mut collector = Collector {
            mentions: Mentions::default(),
            module: module_of(file),
            in_test,
        };
        collector.visit_file(&syntax);
        let mut mentions = collector.mentions;
        mentions.unsafe_lines = unsafe_lines(text.parse()?);
        Ok(mentions)
    }
}

/// The path of the module that a file is: `src/storage/log/mod.rs` is `crate::storage::log`.
pub(super) fn module_of(file: &str) -> Vec<String> {
    let inside = file.split_once("src/").map_or(file, |(_, inside)| inside);
    let inside = inside.strip_suffix(".rs").unwrap_or(inside);
    let mut module = vec!["crate".to_owned()];
    module.extend(inside.split('/').map(str::to_owned));
    if module
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
    {
        module.pop();
    }
    module
}

/// Lines with the word `unsafe`, in macros too.
fn unsafe_lines(tokens: TokenStream) -> Vec<usize> {
    let mut lines = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => lines.extend(unsafe_lines(group.stream())),
            TokenTree::Ident(word) if word == "unsafe" => lines.push(line_of(word.span())),
            _ => {}
        }
    }
    lines
}

fn line_of(span: Span) -> usize {
    span.start().line
}

/// Whether an item is built for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("test") {
            return true;
        }
        // `cfg(test)`, or `cfg(all(test, …))`; not `cfg(not(test))` and not `cfg(any(test, …))`.
        let Ok(list) = attribute.meta.require_list() else {
            return false;
        };
        let words: Vec<String> = list
            .tokens
            .clone()
            .into_iter()
            .map(|token| token.to_string())
            .collect();
        let all = words.first().is_some_and(|word| word == "all")
            && words.get(1).is_some_and(|group| {
                group
                    .trim_matches(['(', ')'])
                    .split(',')
                    .any(|word| word.trim() == "test")
            });
        list.path.is_ident("cfg") && (words == ["test"] || all)
    })
}

struct Collector {
    mentions: Mentions,
    /// The module that is being read.
    module: Vec<String>,
    in_test: bool,
}

impl Collector {
    fn mention(&mut self, segments: Vec<String>, opens: bool, line: usize) {
        let in_test = self.in_test;
        // A lone name is a variable, or something that a `use` brought in.
        if segments.len() == 1 && !opens {
            return;
        }
        if let Some(segments) = self.resolve(segments) {
            self.mentions.paths.push(Mention {
                segments,
                opens,
                in_test,
                line,
            });
        }
    }

    /// Follows `self` and `super` from the current module. `None` if nothing is left to judge.
    fn resolve(&self, segments: Vec<String>) -> Option<Vec<String>> {
        let relative = segments
            .first()
            .is_some_and(|first| first == "self" || first == "super");
        if !relative {
            return (!segments.is_empty()).then_some(segments);
        }
        let mut resolved = self.module.clone();
        let mut rest = segments.as_slice();
        while let [first, after @ ..] = rest {
            match first.as_str() {
                "self" => {}
                "super" => drop(resolved.pop()),
                _ => break,
            }
            rest = after;
        }
        resolved.extend_from_slice(rest);
        Some(resolved)
    }

    /// Flattens a tree of `use`.
    fn use_tree(&mut self, before: &[String], tree: &UseTree, line: usize) {
        let with = |name: &syn::Ident| {
            let mut segments = before.to_vec();
            // `{self, …}` names the path before it.
            if name != "self" || before.is_empty() {
                segments.push(name.to_string());
            }
            segments
        };
        match tree {
            UseTree::Path(path) => {
                self.use_tree(&with(&path.ident), &path.tree, line_of(path.ident.span()));
            }
            UseTree::Name(name) => {
                self.mention(with(&name.ident), true, line_of(name.ident.span()));
            }
            UseTree::Rename(rename) => {
                self.mention(with(&rename.ident), true, line_of(rename.ident.span()));
            }
            UseTree::Glob(_) => self.mention(before.to_vec(), true, line),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(before, tree, line);
                }
            }
        }
    }

    /// Searches tokens for paths, async and nested groups.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut colons, mut start) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        self.mention(std::mem::take(&mut path), false, start);
                    }
                    if path.is_empty() {
                        start = line_of(word.span());
                    }
                    if (word == "async" || word == "await") && !self.in_test {
                        self.mentions.async_lines.push(line_of(word.span()));
                    }
                    path.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.mention(std::mem::take(&mut path), false, start);
                    colons = 0;
                    self.tokens(group.stream());
                }
                _ => {
                    self.mention(std::mem::take(&mut path), false, start);
                    colons = 0;
                }
            }
        }
        self.mention(path, false, start);
    }

    fn is_async(&mut self, span: Span) {
        if !self.in_test {
            self.mentions.async_lines.push(line_of(span));
        }
    }

    /// Reads something that may be for tests only.
    fn within(&mut self, attributes: &[Attribute], read: impl FnOnce(&mut Self)) {
        let outer = self.in_test;
        self.in_test |= is_test(attributes);
        read(self);
        self.in_test = outer;
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.within(&item.attrs, |this| {
            this.use_tree(&[], &item.tree, line_of(item.use_token.span));
        });
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.mention(
            vec![item.ident.to_string()],
            true,
            line_of(item.ident.span()),
        );
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        let line = path
            .segments
            .first()
            .map_or(0, |segment| line_of(segment.ident.span()));
        self.mention(segments, false, line);
        visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_path(&item.path);
        self.tokens(item.tokens.clone());
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.within(&item.attrs, |this| {
            this.module.push(item.ident.to_string());
            if this.in_test && item.content.is_none() {
                this.mentions.test_modules.push(this.module.clone());
            }
            visit::visit_item_mod(this, item);
            this.module.pop();
        });
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.within(&item.attrs, |this| visit::visit_item_fn(this, item));
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.within(&item.attrs, |this| visit::visit_item_impl(this, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within(&item.attrs, |this| visit::visit_impl_item_fn(this, item));
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(token) = &signature.asyncness {
            self.is_async(token.span);
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, expression: &'ast syn::ExprAsync) {
        self.is_async(expression.async_token.span);
        visit::visit_expr_async(self, expression);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.is_async(expression.await_token.span);
        visit::visit_expr_await(self, expression);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        if let Some(token) = &closure.asyncness {
            self.is_async(token.span);
        }
        visit::visit_expr_closure(self, closure);
    }
}
