var __create = Object.create;
var __defProp = Object.defineProperty;
var __getOwnPropDesc = Object.getOwnPropertyDescriptor;
var __getOwnPropNames = Object.getOwnPropertyNames;
var __getProtoOf = Object.getPrototypeOf;
var __hasOwnProp = Object.prototype.hasOwnProperty;
var __require = /* @__PURE__ */ ((x) => typeof require !== "undefined" ? require : typeof Proxy !== "undefined" ? new Proxy(x, {
  get: (a, b) => (typeof require !== "undefined" ? require : a)[b]
}) : x)(function(x) {
  if (typeof require !== "undefined") return require.apply(this, arguments);
  throw Error('Dynamic require of "' + x + '" is not supported');
});
var __esm = (fn2, res, err) => function __init() {
  if (err) throw err[0];
  try {
    return fn2 && (res = (0, fn2[__getOwnPropNames(fn2)[0]])(fn2 = 0)), res;
  } catch (e) {
    throw err = [e], e;
  }
};
var __commonJS = (cb, mod) => function __require2() {
  try {
    return mod || (0, cb[__getOwnPropNames(cb)[0]])((mod = { exports: {} }).exports, mod), mod.exports;
  } catch (e) {
    throw mod = 0, e;
  }
};
var __export = (target, all) => {
  for (var name in all)
    __defProp(target, name, { get: all[name], enumerable: true });
};
var __copyProps = (to, from, except, desc) => {
  if (from && typeof from === "object" || typeof from === "function") {
    for (let key of __getOwnPropNames(from))
      if (!__hasOwnProp.call(to, key) && key !== except)
        __defProp(to, key, { get: () => from[key], enumerable: !(desc = __getOwnPropDesc(from, key)) || desc.enumerable });
  }
  return to;
};
var __toESM = (mod, isNodeMode, target) => (target = mod != null ? __create(__getProtoOf(mod)) : {}, __copyProps(
  // If the importer is in node compatibility mode or this is not an ESM
  // file that has been converted to a CommonJS file using a Babel-
  // compatible transform (i.e. "__esModule" has not been set), then set
  // "default" to the CommonJS "module.exports" for node compatibility.
  isNodeMode || !mod || !mod.__esModule ? __defProp(target, "default", { value: mod, enumerable: true }) : target,
  mod
));
var __toCommonJS = (mod) => __copyProps(__defProp({}, "__esModule", { value: true }), mod);

// src/no_zlib.ts
var no_zlib_exports = {};
__export(no_zlib_exports, {
  default: () => no_zlib_default
});
var no_zlib_default;
var init_no_zlib = __esm({
  "src/no_zlib.ts"() {
    "use strict";
    no_zlib_default = {};
  }
});

// node_modules/dicom-parser/dist/dicomParser.min.js
var require_dicomParser_min = __commonJS({
  "node_modules/dicom-parser/dist/dicomParser.min.js"(exports, module) {
    !(function(e, t) {
      "object" == typeof exports && "object" == typeof module ? module.exports = t((init_no_zlib(), __toCommonJS(no_zlib_exports))) : "function" == typeof define && define.amd ? define("dicom-parser", ["zlib"], t) : "object" == typeof exports ? exports["dicom-parser"] = t((init_no_zlib(), __toCommonJS(no_zlib_exports))) : e.dicomParser = t(e.zlib);
    })(exports, function(r) {
      return a = [function(e, t) {
        e.exports = r;
      }, function(e, t, s) {
        "use strict";
        s.r(t), s.d(t, "isStringVr", function() {
          return d;
        }), s.d(t, "isPrivateTag", function() {
          return f;
        }), s.d(t, "parsePN", function() {
          return a2;
        }), s.d(t, "parseTM", function() {
          return n2;
        }), s.d(t, "parseDA", function() {
          return o;
        }), s.d(t, "explicitElementToString", function() {
          return l;
        }), s.d(t, "explicitDataSetToJS", function() {
          return u;
        }), s.d(t, "createJPEGBasicOffsetTable", function() {
          return p;
        }), s.d(t, "parseDicomDataSetExplicit", function() {
          return q2;
        }), s.d(t, "parseDicomDataSetImplicit", function() {
          return T;
        }), s.d(t, "readFixedString", function() {
          return b;
        }), s.d(t, "alloc", function() {
          return k2;
        }), s.d(t, "version", function() {
          return L;
        }), s.d(t, "bigEndianByteArrayParser", function() {
          return N2;
        }), s.d(t, "ByteStream", function() {
          return J2;
        }), s.d(t, "sharedCopy", function() {
          return j;
        }), s.d(t, "DataSet", function() {
          return w;
        }), s.d(t, "findAndSetUNElementLength", function() {
          return y;
        }), s.d(t, "findEndOfEncapsulatedElement", function() {
          return g;
        }), s.d(t, "findItemDelimitationItemAndSetElementLength", function() {
          return x;
        }), s.d(t, "littleEndianByteArrayParser", function() {
          return M;
        }), s.d(t, "parseDicom", function() {
          return V;
        }), s.d(t, "readDicomElementExplicit", function() {
          return B2;
        }), s.d(t, "readDicomElementImplicit", function() {
          return A;
        }), s.d(t, "readEncapsulatedImageFrame", function() {
          return W;
        }), s.d(t, "readEncapsulatedPixelData", function() {
          return K2;
        }), s.d(t, "readEncapsulatedPixelDataFromFragments", function() {
          return _;
        }), s.d(t, "readPart10Header", function() {
          return G2;
        }), s.d(t, "readSequenceItemsExplicit", function() {
          return I2;
        }), s.d(t, "readSequenceItemsImplicit", function() {
          return F;
        }), s.d(t, "readSequenceItem", function() {
          return S2;
        }), s.d(t, "readTag", function() {
          return h;
        });
        var r2 = { AE: true, AS: true, AT: false, CS: true, DA: true, DS: true, DT: true, FL: false, FD: false, IS: true, LO: true, LT: true, OB: false, OD: false, OF: false, OW: false, PN: true, SH: true, SL: false, SQ: false, SS: false, ST: true, TM: true, UI: true, UL: false, UN: void 0, UR: true, US: false, UT: true }, d = function(e2) {
          return r2[e2];
        }, f = function(e2) {
          e2 = parseInt(e2[4], 16);
          if (isNaN(e2)) throw "dicomParser.isPrivateTag: cannot parse last character of group";
          return e2 % 2 == 1;
        }, a2 = function(e2) {
          if (void 0 !== e2) {
            e2 = e2.split("^");
            return { familyName: e2[0], givenName: e2[1], middleName: e2[2], prefix: e2[3], suffix: e2[4] };
          }
        };
        function n2(e2, t2) {
          if (2 <= e2.length) {
            var r3 = parseInt(e2.substring(0, 2), 10), a3 = 4 <= e2.length ? parseInt(e2.substring(2, 4), 10) : void 0, n3 = 6 <= e2.length ? parseInt(e2.substring(4, 6), 10) : void 0, i3 = 8 <= e2.length ? e2.substring(7, 13) : void 0, i3 = i3 ? parseInt(i3, 10) * Math.pow(10, 6 - i3.length) : void 0;
            if (t2 && (isNaN(r3) || void 0 !== a3 && isNaN(a3) || void 0 !== n3 && isNaN(n3) || void 0 !== i3 && isNaN(i3) || r3 < 0 || 23 < r3 || a3 && (a3 < 0 || 59 < a3) || n3 && (n3 < 0 || 59 < n3) || i3 && (i3 < 0 || 999999 < i3))) throw "invalid TM '".concat(e2, "'");
            return { hours: r3, minutes: a3, seconds: n3, fractionalSeconds: i3 };
          }
          if (t2) throw "invalid TM '".concat(e2, "'");
        }
        function i2(e2, t2, r3) {
          return !isNaN(r3) && (0 < t2 && t2 <= 12 && 0 < e2 && e2 <= (function(e3, t3) {
            switch (e3) {
              case 2:
                return t3 % 4 == 0 && t3 % 100 || t3 % 400 == 0 ? 29 : 28;
              case 9:
              case 4:
              case 6:
              case 11:
                return 30;
              default:
                return 31;
            }
          })(t2, r3));
        }
        function o(e2, t2) {
          if (e2 && 8 === e2.length) {
            var r3 = parseInt(e2.substring(0, 4), 10), a3 = parseInt(e2.substring(4, 6), 10), n3 = parseInt(e2.substring(6, 8), 10);
            if (t2 && true !== i2(n3, a3, r3)) throw "invalid DA '".concat(e2, "'");
            return { year: r3, month: a3, day: n3 };
          }
          if (t2) throw "invalid DA '".concat(e2, "'");
        }
        function l(n3, e2) {
          if (void 0 === n3 || void 0 === e2) throw "dicomParser.explicitElementToString: missing required parameters";
          if (void 0 === e2.vr) throw "dicomParser.explicitElementToString: cannot convert implicit element to string";
          var t2, r3 = e2.vr, i3 = e2.tag;
          function a3(e3, t3) {
            for (var r4 = "", a4 = 0; a4 < e3; a4++) 0 !== a4 && (r4 += "/"), r4 += t3.call(n3, i3, a4).toString();
            return r4;
          }
          if (true === d(r3)) t2 = n3.string(i3);
          else {
            if ("AT" === r3) {
              var o2 = n3.uint32(i3);
              return void 0 === o2 ? void 0 : "x".concat((o2 = o2 < 0 ? 4294967295 + o2 + 1 : o2).toString(16).toUpperCase());
            }
            "US" === r3 ? t2 = a3(e2.length / 2, n3.uint16) : "SS" === r3 ? t2 = a3(e2.length / 2, n3.int16) : "UL" === r3 ? t2 = a3(e2.length / 4, n3.uint32) : "SL" === r3 ? t2 = a3(e2.length / 4, n3.int32) : "FD" === r3 ? t2 = a3(e2.length / 8, n3.double) : "FL" === r3 && (t2 = a3(e2.length / 4, n3.float));
          }
          return t2;
        }
        function u(e2, t2) {
          if (void 0 === e2) throw "dicomParser.explicitDataSetToJS: missing required parameter dataSet";
          t2 = t2 || { omitPrivateAttibutes: true, maxElementLength: 128 };
          var r3, a3 = {};
          for (r3 in e2.elements) {
            var n3 = e2.elements[r3];
            if (true !== t2.omitPrivateAttibutes || !f(r3)) if (n3.items) {
              for (var i3 = [], o2 = 0; o2 < n3.items.length; o2++) i3.push(u(n3.items[o2].dataSet, t2));
              a3[r3] = i3;
            } else {
              var s2 = void 0;
              n3.length < t2.maxElementLength && (s2 = l(e2, n3)), a3[r3] = void 0 !== s2 ? s2 : { dataOffset: n3.dataOffset, length: n3.length };
            }
          }
          return a3;
        }
        function c(e2, t2) {
          return 255 === e2.byteArray[t2] && 217 === e2.byteArray[t2 + 1];
        }
        function m(e2, t2, r3) {
          for (var a3, n3, i3 = r3; i3 < t2.fragments.length; i3++) if (a3 = e2, n3 = i3, n3 = t2.fragments[n3], !(!c(a3, n3.position + n3.length - 2) && !c(a3, n3.position + n3.length - 3))) return i3;
        }
        function p(e2, t2, r3) {
          if (void 0 === e2) throw "dicomParser.createJPEGBasicOffsetTable: missing required parameter dataSet";
          if (void 0 === t2) throw "dicomParser.createJPEGBasicOffsetTable: missing required parameter pixelDataElement";
          if ("x7fe00010" !== t2.tag) throw "dicomParser.createJPEGBasicOffsetTable: parameter 'pixelDataElement' refers to non pixel data tag (expected tag = x7fe00010'";
          if (true !== t2.encapsulatedPixelData) throw "dicomParser.createJPEGBasicOffsetTable: parameter 'pixelDataElement' refers to pixel data element that does not have encapsulated pixel data";
          if (true !== t2.hadUndefinedLength) throw "dicomParser.createJPEGBasicOffsetTable: parameter 'pixelDataElement' refers to pixel data element that does not have encapsulated pixel data";
          if (void 0 === t2.basicOffsetTable) throw "dicomParser.createJPEGBasicOffsetTable: parameter 'pixelDataElement' refers to pixel data element that does not have encapsulated pixel data";
          if (void 0 === t2.fragments) throw "dicomParser.createJPEGBasicOffsetTable: parameter 'pixelDataElement' refers to pixel data element that does not have encapsulated pixel data";
          if (t2.fragments.length <= 0) throw "dicomParser.createJPEGBasicOffsetTable: parameter 'pixelDataElement' refers to pixel data element that does not have encapsulated pixel data";
          if (r3 && r3.length <= 0) throw "dicomParser.createJPEGBasicOffsetTable: parameter 'fragments' must not be zero length";
          r3 = r3 || t2.fragments;
          for (var a3 = [], n3 = 0; ; ) {
            a3.push(t2.fragments[n3].offset);
            var i3 = m(e2, t2, n3);
            if (void 0 === i3 || i3 === t2.fragments.length - 1) return a3;
            n3 = i3 + 1;
          }
        }
        function h(e2) {
          if (void 0 === e2) throw "dicomParser.readTag: missing required parameter 'byteStream'";
          var t2 = 256 * e2.readUint16() * 256, e2 = e2.readUint16();
          return "x".concat("00000000".concat((t2 + e2).toString(16)).substr(-8));
        }
        function g(e2, t2, r3) {
          if (void 0 === e2) throw "dicomParser.findEndOfEncapsulatedElement: missing required parameter 'byteStream'";
          if (void 0 === t2) throw "dicomParser.findEndOfEncapsulatedElement: missing required parameter 'element'";
          if (t2.encapsulatedPixelData = true, t2.basicOffsetTable = [], t2.fragments = [], "xfffee000" !== h(e2)) throw "dicomParser.findEndOfEncapsulatedElement: basic offset table not found";
          for (var a3 = e2.readUint32() / 4, n3 = 0; n3 < a3; n3++) {
            var i3 = e2.readUint32();
            t2.basicOffsetTable.push(i3);
          }
          for (var o2 = e2.position; e2.position < e2.byteArray.length; ) {
            var s2 = h(e2), d2 = e2.readUint32();
            if ("xfffee0dd" === s2) return e2.seek(d2), void (t2.length = e2.position - t2.dataOffset);
            if ("xfffee000" !== s2) return r3 && r3.push("unexpected tag ".concat(s2, " while searching for end of pixel data element with undefined length")), d2 > e2.byteArray.length - e2.position && (d2 = e2.byteArray.length - e2.position), t2.fragments.push({ offset: e2.position - o2 - 8, position: e2.position, length: d2 }), e2.seek(d2), void (t2.length = e2.position - t2.dataOffset);
            t2.fragments.push({ offset: e2.position - o2 - 8, position: e2.position, length: d2 }), e2.seek(d2);
          }
          r3 && r3.push("pixel data element ".concat(t2.tag, " missing sequence delimiter tag xfffee0dd"));
        }
        function y(e2, t2) {
          if (void 0 === e2) throw "dicomParser.findAndSetUNElementLength: missing required parameter 'byteStream'";
          for (var r3 = e2.byteArray.length - 8; e2.position <= r3; ) if (65534 === e2.readUint16()) {
            var a3 = e2.readUint16();
            if (57565 === a3) return 0 !== e2.readUint32() && e2.warnings("encountered non zero length following item delimiter at position ".concat(e2.position - 4, " while reading element of undefined length with tag ").concat(t2.tag)), void (t2.length = e2.position - t2.dataOffset);
          }
          t2.length = e2.byteArray.length - t2.dataOffset, e2.seek(e2.byteArray.length - e2.position);
        }
        function b(e2, t2, r3) {
          if (r3 < 0) throw "dicomParser.readFixedString - length cannot be less than 0";
          if (t2 + r3 > e2.length) throw "dicomParser.readFixedString: attempt to read past end of buffer";
          for (var a3, n3 = "", i3 = 0; i3 < r3; i3++) {
            if (0 === (a3 = e2[t2 + i3])) return t2 += r3, n3;
            n3 += String.fromCharCode(a3);
          }
          return n3;
        }
        function v2(e2, t2) {
          for (var r3 = 0; r3 < t2.length; r3++) {
            var a3 = t2[r3];
            a3.enumerable = a3.enumerable || false, a3.configurable = true, "value" in a3 && (a3.writable = true), Object.defineProperty(e2, a3.key, a3);
          }
        }
        function P(e2, t2) {
          return void 0 !== e2.parser ? e2.parser : t2;
        }
        var w = (function() {
          function a3(e3, t3, r4) {
            !(function(e4, t4) {
              if (!(e4 instanceof t4)) throw new TypeError("Cannot call a class as a function");
            })(this, a3), this.byteArrayParser = e3, this.byteArray = t3, this.elements = r4;
          }
          var e2, t2, r3;
          return e2 = a3, (t2 = [{ key: "uint16", value: function(e3, t3) {
            e3 = this.elements[e3];
            if (t3 = void 0 !== t3 ? t3 : 0, e3 && 0 !== e3.length) return P(e3, this.byteArrayParser).readUint16(this.byteArray, e3.dataOffset + 2 * t3);
          } }, { key: "int16", value: function(e3, t3) {
            e3 = this.elements[e3];
            if (t3 = void 0 !== t3 ? t3 : 0, e3 && 0 !== e3.length) return P(e3, this.byteArrayParser).readInt16(this.byteArray, e3.dataOffset + 2 * t3);
          } }, { key: "uint32", value: function(e3, t3) {
            e3 = this.elements[e3];
            if (t3 = void 0 !== t3 ? t3 : 0, e3 && 0 !== e3.length) return P(e3, this.byteArrayParser).readUint32(this.byteArray, e3.dataOffset + 4 * t3);
          } }, { key: "int32", value: function(e3, t3) {
            e3 = this.elements[e3];
            if (t3 = void 0 !== t3 ? t3 : 0, e3 && 0 !== e3.length) return P(e3, this.byteArrayParser).readInt32(this.byteArray, e3.dataOffset + 4 * t3);
          } }, { key: "float", value: function(e3, t3) {
            e3 = this.elements[e3];
            if (t3 = void 0 !== t3 ? t3 : 0, e3 && 0 !== e3.length) return P(e3, this.byteArrayParser).readFloat(this.byteArray, e3.dataOffset + 4 * t3);
          } }, { key: "double", value: function(e3, t3) {
            e3 = this.elements[e3];
            if (t3 = void 0 !== t3 ? t3 : 0, e3 && 0 !== e3.length) return P(e3, this.byteArrayParser).readDouble(this.byteArray, e3.dataOffset + 8 * t3);
          } }, { key: "numStringValues", value: function(e3) {
            e3 = this.elements[e3];
            if (e3 && 0 < e3.length) {
              e3 = b(this.byteArray, e3.dataOffset, e3.length).match(/\\/g);
              return null === e3 ? 1 : e3.length + 1;
            }
          } }, { key: "string", value: function(e3, t3) {
            e3 = this.elements[e3];
            if (e3 && e3.Value) return e3.Value;
            if (e3 && 0 < e3.length) {
              e3 = b(this.byteArray, e3.dataOffset, e3.length);
              return 0 <= t3 ? e3.split("\\")[t3].trim() : e3.trim();
            }
          } }, { key: "text", value: function(e3, t3) {
            e3 = this.elements[e3];
            if (e3 && 0 < e3.length) {
              e3 = b(this.byteArray, e3.dataOffset, e3.length);
              return 0 <= t3 ? e3.split("\\")[t3].replace(/ +$/, "") : e3.replace(/ +$/, "");
            }
          } }, { key: "floatString", value: function(e3, t3) {
            var r4 = this.elements[e3];
            if (r4 && 0 < r4.length) {
              t3 = this.string(e3, t3 = void 0 !== t3 ? t3 : 0);
              if (void 0 !== t3) return parseFloat(t3);
            }
          } }, { key: "intString", value: function(e3, t3) {
            var r4 = this.elements[e3];
            if (r4 && 0 < r4.length) {
              t3 = this.string(e3, t3 = void 0 !== t3 ? t3 : 0);
              if (void 0 !== t3) return parseInt(t3);
            }
          } }, { key: "attributeTag", value: function(e3) {
            var t3 = this.elements[e3];
            if (t3 && 4 === t3.length) {
              var r4 = P(t3, this.byteArrayParser).readUint16, e3 = this.byteArray, t3 = t3.dataOffset;
              return "x".concat("00000000".concat((256 * r4(e3, t3) * 256 + r4(e3, t3 + 2)).toString(16)).substr(-8));
            }
          } }]) && v2(e2.prototype, t2), r3 && v2(e2, r3), Object.defineProperty(e2, "prototype", { writable: false }), a3;
        })();
        function x(e2, t2) {
          if (void 0 === e2) throw "dicomParser.readDicomElementImplicit: missing required parameter 'byteStream'";
          for (var r3 = e2.byteArray.length - 8; e2.position <= r3; ) if (65534 === e2.readUint16()) {
            var a3 = e2.readUint16();
            if (57357 === a3) return 0 !== e2.readUint32() && e2.warnings("encountered non zero length following item delimiter at position ".concat(e2.position - 4, " while reading element of undefined length with tag ").concat(t2.tag)), void (t2.length = e2.position - t2.dataOffset);
          }
          t2.length = e2.byteArray.length - t2.dataOffset, e2.seek(e2.byteArray.length - e2.position);
        }
        var E2 = function(e2, t2) {
          if (void 0 !== e2.vr) return "SQ" === e2.vr;
          if (t2.position + 4 <= t2.byteArray.length) {
            e2 = h(t2);
            return t2.seek(-4), "xfffee000" === e2 || "xfffee0dd" === e2;
          }
          return t2.warnings.push("eof encountered before finding sequence item tag or sequence delimiter tag in peeking to determine VR"), false;
        };
        function A(e2, t2, r3) {
          if (void 0 === e2) throw "dicomParser.readDicomElementImplicit: missing required parameter 'byteStream'";
          var a3 = h(e2), a3 = { tag: a3, vr: void 0 !== r3 ? r3(a3) : void 0, length: e2.readUint32(), dataOffset: e2.position };
          return 4294967295 === a3.length && (a3.hadUndefinedLength = true), a3.tag === t2 || (!E2(a3, e2) || f(a3.tag) && !a3.hadUndefinedLength ? a3.hadUndefinedLength ? x(e2, a3) : e2.seek(a3.length) : (F(e2, a3, r3), f(a3.tag) && (a3.items = void 0))), a3;
        }
        function S2(e2) {
          if (void 0 === e2) throw "dicomParser.readSequenceItem: missing required parameter 'byteStream'";
          var t2 = { tag: h(e2), length: e2.readUint32(), dataOffset: e2.position };
          if ("xfffee000" !== t2.tag) throw "dicomParser.readSequenceItem: item tag (FFFE,E000) not found at offset ".concat(e2.position);
          return t2;
        }
        function D2(e2, t2) {
          var r3 = S2(e2);
          return 4294967295 === r3.length ? (r3.hadUndefinedLength = true, r3.dataSet = (function(e3, t3) {
            for (var r4 = {}; e3.position < e3.byteArray.length; ) {
              var a3 = A(e3, void 0, t3);
              if ("xfffee00d" === (r4[a3.tag] = a3).tag) return new w(e3.byteArrayParser, e3.byteArray, r4);
            }
            return e3.warnings.push("eof encountered before finding sequence item delimiter in sequence item of undefined length"), new w(e3.byteArrayParser, e3.byteArray, r4);
          })(e2, t2), r3.length = e2.position - r3.dataOffset) : (r3.dataSet = new w(e2.byteArrayParser, e2.byteArray, {}), T(r3.dataSet, e2, e2.position + r3.length, { vrCallback: t2 })), r3;
        }
        function F(e2, t2, r3) {
          if (void 0 === e2) throw "dicomParser.readSequenceItemsImplicit: missing required parameter 'byteStream'";
          if (void 0 === t2) throw "dicomParser.readSequenceItemsImplicit: missing required parameter 'element'";
          t2.items = [], (4294967295 === t2.length ? function(e3, t3, r4) {
            for (; e3.position + 4 <= e3.byteArray.length; ) {
              var a3 = h(e3);
              if (e3.seek(-4), "xfffee0dd" === a3) return t3.length = e3.position - t3.dataOffset, e3.seek(8);
              a3 = D2(e3, r4);
              t3.items.push(a3);
            }
            e3.warnings.push("eof encountered before finding sequence delimiter in sequence of undefined length"), t3.length = e3.byteArray.length - t3.dataOffset;
          } : function(e3, t3, r4) {
            for (var a3 = t3.dataOffset + t3.length; e3.position < a3; ) {
              var n3 = D2(e3, r4);
              t3.items.push(n3);
            }
          })(e2, t2, r3);
        }
        function O(e2, t2) {
          var r3 = S2(e2);
          return 4294967295 === r3.length ? (r3.hadUndefinedLength = true, r3.dataSet = (function(e3, t3) {
            for (var r4 = {}; e3.position < e3.byteArray.length; ) {
              var a3 = B2(e3, t3);
              if ("xfffee00d" === (r4[a3.tag] = a3).tag) return new w(e3.byteArrayParser, e3.byteArray, r4);
            }
            return t3.push("eof encountered before finding item delimiter tag while reading sequence item of undefined length"), new w(e3.byteArrayParser, e3.byteArray, r4);
          })(e2, t2), r3.length = e2.position - r3.dataOffset) : (r3.dataSet = new w(e2.byteArrayParser, e2.byteArray, {}), q2(r3.dataSet, e2, e2.position + r3.length)), r3;
        }
        function I2(e2, t2, r3) {
          if (void 0 === e2) throw "dicomParser.readSequenceItemsExplicit: missing required parameter 'byteStream'";
          if (void 0 === t2) throw "dicomParser.readSequenceItemsExplicit: missing required parameter 'element'";
          t2.items = [], (4294967295 === t2.length ? function(e3, t3, r4) {
            for (; e3.position + 4 <= e3.byteArray.length; ) {
              var a3 = h(e3);
              if (e3.seek(-4), "xfffee0dd" === a3) return t3.length = e3.position - t3.dataOffset, e3.seek(8);
              a3 = O(e3, r4);
              t3.items.push(a3);
            }
            r4.push("eof encountered before finding sequence delimitation tag while reading sequence of undefined length"), t3.length = e3.position - t3.dataOffset;
          } : function(e3, t3, r4) {
            for (var a3 = t3.dataOffset + t3.length; e3.position < a3; ) {
              var n3 = O(e3, r4);
              t3.items.push(n3);
            }
          })(e2, t2, r3);
        }
        var U = function(e2) {
          return "OB" === e2 || "OD" === e2 || "OL" === e2 || "OW" === e2 || "SQ" === e2 || "OF" === e2 || "UC" === e2 || "UR" === e2 || "UT" === e2 || "UN" === e2 ? 4 : 2;
        };
        function B2(e2, t2, r3) {
          if (void 0 === e2) throw "dicomParser.readDicomElementExplicit: missing required parameter 'byteStream'";
          var a3 = { tag: h(e2), vr: e2.readFixedString(2) };
          return 2 === U(a3.vr) ? a3.length = e2.readUint16() : (e2.seek(2), a3.length = e2.readUint32()), a3.dataOffset = e2.position, 4294967295 === a3.length && (a3.hadUndefinedLength = true), a3.tag === r3 || ("SQ" === a3.vr ? I2(e2, a3, t2) : 4294967295 === a3.length ? "x7fe00010" === a3.tag ? g(e2, a3, t2) : ("UN" === a3.vr ? F : x)(e2, a3) : e2.seek(a3.length)), a3;
        }
        function q2(e2, t2, r3) {
          var a3 = 3 < arguments.length && void 0 !== arguments[3] ? arguments[3] : {};
          if (r3 = void 0 === r3 ? t2.byteArray.length : r3, void 0 === t2) throw "dicomParser.parseDicomDataSetExplicit: missing required parameter 'byteStream'";
          if (r3 < t2.position || r3 > t2.byteArray.length) throw "dicomParser.parseDicomDataSetExplicit: invalid value for parameter 'maxP osition'";
          for (var n3 = e2.elements; t2.position < r3; ) {
            var i3 = B2(t2, e2.warnings, a3.untilTag);
            if ((n3[i3.tag] = i3).tag === a3.untilTag) return;
          }
          if (t2.position > r3) throw "dicomParser:parseDicomDataSetExplicit: buffer overrun";
        }
        function T(e2, t2, r3) {
          var a3 = 3 < arguments.length && void 0 !== arguments[3] ? arguments[3] : {};
          if (r3 = void 0 === r3 ? e2.byteArray.length : r3, void 0 === t2) throw "dicomParser.parseDicomDataSetImplicit: missing required parameter 'byteStream'";
          if (r3 < t2.position || r3 > t2.byteArray.length) throw "dicomParser.parseDicomDataSetImplicit: invalid value for parameter 'maxPosition'";
          for (var n3 = e2.elements; t2.position < r3; ) {
            var i3 = A(t2, a3.untilTag, a3.vrCallback);
            if ((n3[i3.tag] = i3).tag === a3.untilTag) return;
          }
        }
        function k2(e2, t2) {
          if ("undefined" != typeof Buffer && e2 instanceof Buffer) return Buffer.alloc(t2);
          if (e2 instanceof Uint8Array) return new Uint8Array(t2);
          throw "dicomParser.alloc: unknown type for byteArray";
        }
        var L = "1.8.12", N2 = { readUint16: function(e2, t2) {
          if (t2 < 0) throw "bigEndianByteArrayParser.readUint16: position cannot be less than 0";
          if (t2 + 2 > e2.length) throw "bigEndianByteArrayParser.readUint16: attempt to read past end of buffer";
          return (e2[t2] << 8) + e2[t2 + 1];
        }, readInt16: function(e2, t2) {
          if (t2 < 0) throw "bigEndianByteArrayParser.readInt16: position cannot be less than 0";
          if (t2 + 2 > e2.length) throw "bigEndianByteArrayParser.readInt16: attempt to read past end of buffer";
          t2 = (e2[t2] << 8) + e2[t2 + 1];
          return t2 = 32768 & t2 ? t2 - 65535 - 1 : t2;
        }, readUint32: function(e2, t2) {
          if (t2 < 0) throw "bigEndianByteArrayParser.readUint32: position cannot be less than 0";
          if (t2 + 4 > e2.length) throw "bigEndianByteArrayParser.readUint32: attempt to read past end of buffer";
          return 256 * (256 * (256 * e2[t2] + e2[t2 + 1]) + e2[t2 + 2]) + e2[t2 + 3];
        }, readInt32: function(e2, t2) {
          if (t2 < 0) throw "bigEndianByteArrayParser.readInt32: position cannot be less than 0";
          if (t2 + 4 > e2.length) throw "bigEndianByteArrayParser.readInt32: attempt to read past end of buffer";
          return (e2[t2] << 24) + (e2[t2 + 1] << 16) + (e2[t2 + 2] << 8) + e2[t2 + 3];
        }, readFloat: function(e2, t2) {
          if (t2 < 0) throw "bigEndianByteArrayParser.readFloat: position cannot be less than 0";
          if (t2 + 4 > e2.length) throw "bigEndianByteArrayParser.readFloat: attempt to read past end of buffer";
          var r3 = new Uint8Array(4);
          return r3[3] = e2[t2], r3[2] = e2[t2 + 1], r3[1] = e2[t2 + 2], r3[0] = e2[t2 + 3], new Float32Array(r3.buffer)[0];
        }, readDouble: function(e2, t2) {
          if (t2 < 0) throw "bigEndianByteArrayParser.readDouble: position cannot be less than 0";
          if (t2 + 8 > e2.length) throw "bigEndianByteArrayParser.readDouble: attempt to read past end of buffer";
          var r3 = new Uint8Array(8);
          return r3[7] = e2[t2], r3[6] = e2[t2 + 1], r3[5] = e2[t2 + 2], r3[4] = e2[t2 + 3], r3[3] = e2[t2 + 4], r3[2] = e2[t2 + 5], r3[1] = e2[t2 + 6], r3[0] = e2[t2 + 7], new Float64Array(r3.buffer)[0];
        } };
        function j(e2, t2, r3) {
          if ("undefined" != typeof Buffer && e2 instanceof Buffer) return e2.slice(t2, t2 + r3);
          if (e2 instanceof Uint8Array) return new Uint8Array(e2.buffer, e2.byteOffset + t2, r3);
          throw "dicomParser.from: unknown type for byteArray";
        }
        function C(e2, t2) {
          for (var r3 = 0; r3 < t2.length; r3++) {
            var a3 = t2[r3];
            a3.enumerable = a3.enumerable || false, a3.configurable = true, "value" in a3 && (a3.writable = true), Object.defineProperty(e2, a3.key, a3);
          }
        }
        var J2 = (function() {
          function a3(e3, t3, r4) {
            if (!(function(e4, t4) {
              if (!(e4 instanceof t4)) throw new TypeError("Cannot call a class as a function");
            })(this, a3), void 0 === e3) throw "dicomParser.ByteStream: missing required parameter 'byteArrayParser'";
            if (void 0 === t3) throw "dicomParser.ByteStream: missing required parameter 'byteArray'";
            if (t3 instanceof Uint8Array == false && ("undefined" == typeof Buffer || t3 instanceof Buffer == false)) throw "dicomParser.ByteStream: parameter byteArray is not of type Uint8Array or Buffer";
            if (r4 < 0) throw "dicomParser.ByteStream: parameter 'position' cannot be less than 0";
            if (r4 >= t3.length) throw "dicomParser.ByteStream: parameter 'position' cannot be greater than or equal to 'byteArray' length";
            this.byteArrayParser = e3, this.byteArray = t3, this.position = r4 || 0, this.warnings = [];
          }
          var e2, t2, r3;
          return e2 = a3, (t2 = [{ key: "seek", value: function(e3) {
            if (this.position + e3 < 0) throw "dicomParser.ByteStream.prototype.seek: cannot seek to position < 0";
            this.position += e3;
          } }, { key: "readByteStream", value: function(e3) {
            if (this.position + e3 > this.byteArray.length) throw "dicomParser.ByteStream.prototype.readByteStream: readByteStream - buffer overread";
            var t3 = j(this.byteArray, this.position, e3);
            return this.position += e3, new a3(this.byteArrayParser, t3);
          } }, { key: "getSize", value: function() {
            return this.byteArray.length;
          } }, { key: "readUint16", value: function() {
            var e3 = this.byteArrayParser.readUint16(this.byteArray, this.position);
            return this.position += 2, e3;
          } }, { key: "readUint32", value: function() {
            var e3 = this.byteArrayParser.readUint32(this.byteArray, this.position);
            return this.position += 4, e3;
          } }, { key: "readFixedString", value: function(e3) {
            var t3 = b(this.byteArray, this.position, e3);
            return this.position += e3, t3;
          } }]) && C(e2.prototype, t2), r3 && C(e2, r3), Object.defineProperty(e2, "prototype", { writable: false }), a3;
        })(), M = { readUint16: function(e2, t2) {
          if (t2 < 0) throw "littleEndianByteArrayParser.readUint16: position cannot be less than 0";
          if (t2 + 2 > e2.length) throw "littleEndianByteArrayParser.readUint16: attempt to read past end of buffer";
          return e2[t2] + 256 * e2[t2 + 1];
        }, readInt16: function(e2, t2) {
          if (t2 < 0) throw "littleEndianByteArrayParser.readInt16: position cannot be less than 0";
          if (t2 + 2 > e2.length) throw "littleEndianByteArrayParser.readInt16: attempt to read past end of buffer";
          t2 = e2[t2] + (e2[t2 + 1] << 8);
          return t2 = 32768 & t2 ? t2 - 65535 - 1 : t2;
        }, readUint32: function(e2, t2) {
          if (t2 < 0) throw "littleEndianByteArrayParser.readUint32: position cannot be less than 0";
          if (t2 + 4 > e2.length) throw "littleEndianByteArrayParser.readUint32: attempt to read past end of buffer";
          return e2[t2] + 256 * e2[t2 + 1] + 256 * e2[t2 + 2] * 256 + 256 * e2[t2 + 3] * 256 * 256;
        }, readInt32: function(e2, t2) {
          if (t2 < 0) throw "littleEndianByteArrayParser.readInt32: position cannot be less than 0";
          if (t2 + 4 > e2.length) throw "littleEndianByteArrayParser.readInt32: attempt to read past end of buffer";
          return e2[t2] + (e2[t2 + 1] << 8) + (e2[t2 + 2] << 16) + (e2[t2 + 3] << 24);
        }, readFloat: function(e2, t2) {
          if (t2 < 0) throw "littleEndianByteArrayParser.readFloat: position cannot be less than 0";
          if (t2 + 4 > e2.length) throw "littleEndianByteArrayParser.readFloat: attempt to read past end of buffer";
          var r3 = new Uint8Array(4);
          return r3[0] = e2[t2], r3[1] = e2[t2 + 1], r3[2] = e2[t2 + 2], r3[3] = e2[t2 + 3], new Float32Array(r3.buffer)[0];
        }, readDouble: function(e2, t2) {
          if (t2 < 0) throw "littleEndianByteArrayParser.readDouble: position cannot be less than 0";
          if (t2 + 8 > e2.length) throw "littleEndianByteArrayParser.readDouble: attempt to read past end of buffer";
          var r3 = new Uint8Array(8);
          return r3[0] = e2[t2], r3[1] = e2[t2 + 1], r3[2] = e2[t2 + 2], r3[3] = e2[t2 + 3], r3[4] = e2[t2 + 4], r3[5] = e2[t2 + 5], r3[6] = e2[t2 + 6], r3[7] = e2[t2 + 7], new Float64Array(r3.buffer)[0];
        } };
        function G2(e2) {
          var i3 = 1 < arguments.length && void 0 !== arguments[1] ? arguments[1] : {};
          if (void 0 === e2) throw "dicomParser.readPart10Header: missing required parameter 'byteArray'";
          var o2 = i3.TransferSyntaxUID, s2 = new J2(M, e2);
          return (function() {
            var e3 = (function() {
              if (s2.getSize() <= 132 && o2) return false;
              if (s2.seek(128), "DICM" === s2.readFixedString(4)) return true;
              if (!(i3 || {}).TransferSyntaxUID) throw "dicomParser.readPart10Header: DICM prefix not found at location 132 - this is not a valid DICOM P10 file.";
              return s2.seek(0), false;
            })(), t2 = [], r3 = {};
            if (!e3) return s2.position = 0, { elements: { x00020010: { tag: "x00020010", vr: "UI", Value: o2 } }, warnings: t2 };
            for (; s2.position < s2.byteArray.length; ) {
              var a3 = s2.position, n3 = B2(s2, t2);
              if ("x0002ffff" < n3.tag) {
                s2.position = a3;
                break;
              }
              n3.parser = M, r3[n3.tag] = n3;
            }
            return (e3 = new w(s2.byteArrayParser, s2.byteArray, r3)).warnings = s2.warnings, e3.position = s2.position, e3;
          })();
        }
        var z = "1.2.840.10008.1.2.2";
        function V(i3) {
          var o2 = 1 < arguments.length && void 0 !== arguments[1] ? arguments[1] : {};
          if (void 0 === i3) throw new Error("dicomParser.parseDicom: missing required parameter 'byteArray'");
          var e2, a3 = function(e3) {
            if (void 0 === e3.elements.x00020010) throw new Error("dicomParser.parseDicom: missing required meta header attribute 0002,0010");
            e3 = e3.elements.x00020010;
            return e3 && e3.Value || b(i3, e3.dataOffset, e3.length);
          };
          function t2(t3) {
            var e3 = a3(t3), r3 = "1.2.840.10008.1.2" !== e3, e3 = (function(e4, t4) {
              var r4 = "[object process]" === Object.prototype.toString.call("undefined" != typeof process ? process : 0);
              if ("1.2.840.10008.1.2.1.99" !== e4) return new J2(e4 === z ? N2 : M, i3, t4);
              if (o2 && o2.inflater) {
                e4 = o2.inflater(i3, t4);
                return new J2(M, e4, 0);
              }
              if (true == r4) {
                var a4 = s(0), n3 = j(i3, t4, i3.length - t4), a4 = a4.inflateRawSync(n3), n3 = k2(i3, a4.length + t4);
                return i3.copy(n3, 0, 0, t4), a4.copy(n3, t4), new J2(M, n3, 0);
              }
              if ("undefined" == typeof pako) throw "dicomParser.parseDicom: no inflater available to handle deflate transfer syntax";
              return a4 = i3.slice(t4), n3 = pako.inflateRaw(a4), (a4 = k2(i3, n3.length + t4)).set(i3.slice(0, t4), 0), a4.set(n3, t4), new J2(M, a4, 0);
            })(e3, t3.position), t3 = new w(e3.byteArrayParser, e3.byteArray, {});
            t3.warnings = e3.warnings;
            try {
              (r3 ? q2 : T)(t3, e3, e3.byteArray.length, o2);
            } catch (e4) {
              throw { exception: e4, dataSet: t3 };
            }
            return t3;
          }
          return (function(e3, t3) {
            for (var r3 in e3.elements) e3.elements.hasOwnProperty(r3) && (t3.elements[r3] = e3.elements[r3]);
            return void 0 !== e3.warnings && (t3.warnings = e3.warnings.concat(t3.warnings)), t3;
          })(e2 = G2(i3, o2), t2(e2));
        }
        var R2 = function(e2, t2, r3) {
          for (var a3 = 0, n3 = t2; n3 < t2 + r3; n3++) a3 += e2[n3].length;
          return a3;
        };
        function _(e2, t2, r3, a3, n3) {
          if (n3 = n3 || t2.fragments, void 0 === e2) throw "dicomParser.readEncapsulatedPixelDataFromFragments: missing required parameter 'dataSet'";
          if (void 0 === t2) throw "dicomParser.readEncapsulatedPixelDataFromFragments: missing required parameter 'pixelDataElement'";
          if (void 0 === r3) throw "dicomParser.readEncapsulatedPixelDataFromFragments: missing required parameter 'startFragmentIndex'";
          if (void 0 === (a3 = a3 || 1)) throw "dicomParser.readEncapsulatedPixelDataFromFragments: missing required parameter 'numFragments'";
          if ("x7fe00010" !== t2.tag) throw "dicomParser.readEncapsulatedPixelDataFromFragments: parameter 'pixelDataElement' refers to non pixel data tag (expected tag = x7fe00010";
          if (true !== t2.encapsulatedPixelData) throw "dicomParser.readEncapsulatedPixelDataFromFragments: parameter 'pixelDataElement' refers to pixel data element that does not have encapsulated pixel data";
          if (true !== t2.hadUndefinedLength) throw "dicomParser.readEncapsulatedPixelDataFromFragments: parameter 'pixelDataElement' refers to pixel data element that does not have encapsulated pixel data";
          if (void 0 === t2.basicOffsetTable) throw "dicomParser.readEncapsulatedPixelDataFromFragments: parameter 'pixelDataElement' refers to pixel data element that does not have encapsulated pixel data";
          if (void 0 === t2.fragments) throw "dicomParser.readEncapsulatedPixelDataFromFragments: parameter 'pixelDataElement' refers to pixel data element that does not have encapsulated pixel data";
          if (t2.fragments.length <= 0) throw "dicomParser.readEncapsulatedPixelDataFromFragments: parameter 'pixelDataElement' refers to pixel data element that does not have encapsulated pixel data";
          if (r3 < 0) throw "dicomParser.readEncapsulatedPixelDataFromFragments: parameter 'startFragmentIndex' must be >= 0";
          if (r3 >= t2.fragments.length) throw "dicomParser.readEncapsulatedPixelDataFromFragments: parameter 'startFragmentIndex' must be < number of fragments";
          if (a3 < 1) throw "dicomParser.readEncapsulatedPixelDataFromFragments: parameter 'numFragments' must be > 0";
          if (r3 + a3 > t2.fragments.length) throw "dicomParser.readEncapsulatedPixelDataFromFragments: parameter 'startFragment' + 'numFragments' < number of fragments";
          var i3 = new J2(e2.byteArrayParser, e2.byteArray, t2.dataOffset), t2 = S2(i3);
          if ("xfffee000" !== t2.tag) throw "dicomParser.readEncapsulatedPixelData: missing basic offset table xfffee000";
          i3.seek(t2.length);
          var o2 = i3.position;
          if (1 === a3) return j(i3.byteArray, o2 + n3[r3].offset + 8, n3[r3].length);
          for (var t2 = R2(n3, r3, a3), s2 = k2(i3.byteArray, t2), d2 = 0, f2 = r3; f2 < r3 + a3; f2++) for (var l2 = o2 + n3[f2].offset + 8, u2 = 0; u2 < n3[f2].length; u2++) s2[d2++] = i3.byteArray[l2++];
          return s2;
        }
        var H = function(e2, t2) {
          for (var r3 = 0; r3 < e2.length; r3++) if (e2[r3].offset === t2) return r3;
        }, Q2 = function(e2, t2, r3, a3) {
          if (e2 === t2.length - 1) return r3.length - a3;
          for (var n3 = t2[e2 + 1], i3 = a3 + 1; i3 < r3.length; i3++) if (r3[i3].offset === n3) return i3 - a3;
          throw "dicomParser.calculateNumberOfFragmentsForFrame: could not find fragment with offset matching basic offset table";
        };
        function W(e2, t2, r3, a3, n3) {
          if (a3 = a3 || t2.basicOffsetTable, n3 = n3 || t2.fragments, void 0 === e2) throw "dicomParser.readEncapsulatedImageFrame: missing required parameter 'dataSet'";
          if (void 0 === t2) throw "dicomParser.readEncapsulatedImageFrame: missing required parameter 'pixelDataElement'";
          if (void 0 === r3) throw "dicomParser.readEncapsulatedImageFrame: missing required parameter 'frameIndex'";
          if (void 0 === a3) throw "dicomParser.readEncapsulatedImageFrame: parameter 'pixelDataElement' does not have basicOffsetTable";
          if ("x7fe00010" !== t2.tag) throw "dicomParser.readEncapsulatedImageFrame: parameter 'pixelDataElement' refers to non pixel data tag (expected tag = x7fe00010)";
          if (true !== t2.encapsulatedPixelData) throw "dicomParser.readEncapsulatedImageFrame: parameter 'pixelDataElement' refers to pixel data element that does not have encapsulated pixel data";
          if (true !== t2.hadUndefinedLength) throw "dicomParser.readEncapsulatedImageFrame: parameter 'pixelDataElement' refers to pixel data element that does not have undefined length";
          if (void 0 === t2.fragments) throw "dicomParser.readEncapsulatedImageFrame: parameter 'pixelDataElement' refers to pixel data element that does not have fragments";
          if (0 === a3.length) throw "dicomParser.readEncapsulatedImageFrame: basicOffsetTable has zero entries";
          if (r3 < 0) throw "dicomParser.readEncapsulatedImageFrame: parameter 'frameIndex' must be >= 0";
          if (r3 >= a3.length) throw "dicomParser.readEncapsulatedImageFrame: parameter 'frameIndex' must be < basicOffsetTable.length";
          var i3 = a3[r3], i3 = H(n3, i3);
          if (void 0 === i3) throw "dicomParser.readEncapsulatedImageFrame: unable to find fragment that matches basic offset table entry";
          return _(e2, t2, i3, Q2(r3, a3, n3, i3), n3);
        }
        var $ = false;
        function K2(e2, t2, r3) {
          if ($ || ($ = true, console && console.log && console.log("WARNING: dicomParser.readEncapsulatedPixelData() has been deprecated")), void 0 === e2) throw "dicomParser.readEncapsulatedPixelData: missing required parameter 'dataSet'";
          if (void 0 === t2) throw "dicomParser.readEncapsulatedPixelData: missing required parameter 'element'";
          if (void 0 === r3) throw "dicomParser.readEncapsulatedPixelData: missing required parameter 'frame'";
          if ("x7fe00010" !== t2.tag) throw "dicomParser.readEncapsulatedPixelData: parameter 'element' refers to non pixel data tag (expected tag = x7fe00010)";
          if (true !== t2.encapsulatedPixelData) throw "dicomParser.readEncapsulatedPixelData: parameter 'element' refers to pixel data element that does not have encapsulated pixel data";
          if (true !== t2.hadUndefinedLength) throw "dicomParser.readEncapsulatedPixelData: parameter 'element' refers to pixel data element that does not have encapsulated pixel data";
          if (void 0 === t2.basicOffsetTable) throw "dicomParser.readEncapsulatedPixelData: parameter 'element' refers to pixel data element that does not have encapsulated pixel data";
          if (void 0 === t2.fragments) throw "dicomParser.readEncapsulatedPixelData: parameter 'element' refers to pixel data element that does not have encapsulated pixel data";
          if (r3 < 0) throw "dicomParser.readEncapsulatedPixelData: parameter 'frame' must be >= 0";
          return 0 !== t2.basicOffsetTable.length ? W(e2, t2, r3) : _(e2, t2, 0, t2.fragments.length);
        }
        t.default = { isStringVr: d, isPrivateTag: f, parsePN: a2, parseTM: n2, parseDA: o, explicitElementToString: l, explicitDataSetToJS: u, createJPEGBasicOffsetTable: p, parseDicomDataSetExplicit: q2, parseDicomDataSetImplicit: T, readFixedString: b, alloc: k2, version: L, bigEndianByteArrayParser: N2, ByteStream: J2, sharedCopy: j, DataSet: w, findAndSetUNElementLength: y, findEndOfEncapsulatedElement: g, findItemDelimitationItemAndSetElementLength: x, littleEndianByteArrayParser: M, parseDicom: V, readDicomElementExplicit: B2, readDicomElementImplicit: A, readEncapsulatedImageFrame: W, readEncapsulatedPixelData: K2, readEncapsulatedPixelDataFromFragments: _, readPart10Header: G2, readSequenceItemsExplicit: I2, readSequenceItemsImplicit: F, readSequenceItem: S2, readTag: h, LEI: "1.2.840.10008.1.2", LEE: "1.2.840.10008.1.2.1" };
      }], i = {}, n.m = a, n.c = i, n.d = function(e, t, r2) {
        n.o(e, t) || Object.defineProperty(e, t, { enumerable: true, get: r2 });
      }, n.r = function(e) {
        "undefined" != typeof Symbol && Symbol.toStringTag && Object.defineProperty(e, Symbol.toStringTag, { value: "Module" }), Object.defineProperty(e, "__esModule", { value: true });
      }, n.t = function(t, e) {
        if (1 & e && (t = n(t)), 8 & e) return t;
        if (4 & e && "object" == typeof t && t && t.__esModule) return t;
        var r2 = /* @__PURE__ */ Object.create(null);
        if (n.r(r2), Object.defineProperty(r2, "default", { enumerable: true, value: t }), 2 & e && "string" != typeof t) for (var a2 in t) n.d(r2, a2, function(e2) {
          return t[e2];
        }.bind(null, a2));
        return r2;
      }, n.n = function(e) {
        var t = e && e.__esModule ? function() {
          return e.default;
        } : function() {
          return e;
        };
        return n.d(t, "a", t), t;
      }, n.o = function(e, t) {
        return Object.prototype.hasOwnProperty.call(e, t);
      }, n.p = "", n(n.s = 1);
      function n(e) {
        if (i[e]) return i[e].exports;
        var t = i[e] = { i: e, l: false, exports: {} };
        return a[e].call(t.exports, t, t.exports, n), t.l = true, t.exports;
      }
      var a, i;
    });
  }
});

// src/dicom.ts
var dicomParser2 = __toESM(require_dicomParser_min(), 1);

// src/limits.ts
var MAX_PIXELS = 8e7;
var MAX_SIDE = 1e6;
var MAX_BYTES = 7e8;
var BIT_DEPTHS = [8, 10, 12, 14, 16];
var ImageFileError = class extends Error {
  name = "ImageFileError";
};
function checkSize(width, height) {
  if (!(width > 0 && height > 0)) {
    throw new ImageFileError(`claims ${width} x ${height} pixels`);
  }
  if (width * height > MAX_PIXELS) {
    const most = `more than ${MAX_PIXELS / 1e6} million`;
    throw new ImageFileError(`claims ${width} x ${height} pixels, ${most}`);
  }
  if (Math.max(width, height) > MAX_SIDE) {
    throw new ImageFileError(`claims ${width} x ${height} pixels, a side over ${MAX_SIDE}`);
  }
}

// src/luma.ts
function luma(red, green, blue) {
  return red * 19595 + green * 38470 + blue * 7471 + 32768 >> 16;
}
function lumaOnBlack(red, green, blue, alpha) {
  if (alpha === 255) return luma(red, green, blue);
  const on2 = (value) => Math.floor((value * alpha + 127) / 255);
  return luma(on2(red), on2(green), on2(blue));
}
function roundHalfToEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest < 0.5) return below;
  if (rest > 0.5) return below + 1;
  return below % 2 === 0 ? below : below + 1;
}

// src/dicom_display.ts
function display(values, rules) {
  if (values.BYTES_PER_ELEMENT > 2) return displayEach(Float64Array.from(values), rules);
  const offset = 2 ** (8 * values.BYTES_PER_ELEMENT - 1);
  const places = new Int32Array(2 * offset + offset).fill(-1);
  for (let index = 0; index < values.length; index++) places[values[index] + offset] = 0;
  const present = [];
  for (let place = 0; place < places.length; place++) {
    if (places[place] === 0) places[place] = present.push(place - offset) - 1;
  }
  const shown = displayEach(Float64Array.from(present), rules);
  const grey = new Uint8Array(values.length);
  for (let index = 0; index < values.length; index++) {
    grey[index] = shown[places[values[index] + offset]];
  }
  return grey;
}
function displayEach(stored, rules) {
  const { modality, voi, slope, intercept } = rules;
  let values = stored;
  if (modality) values = lookUp(stored, modality);
  else if (slope !== void 0 && intercept !== void 0) {
    values = stored.map((value) => value * slope + intercept);
  }
  if (voi) return toBytes(lookUp(values, voi), 0, 2 ** voi.bits - 1);
  if (rules.center === void 0 || rules.width === void 0) {
    const [low2, high2] = ends(values.filter((_, place) => !isPadding(stored[place], rules)));
    return low2 < high2 ? toBytes(values, low2, high2) : toBytes(values, ...ends(values));
  }
  const [low, high] = fullRange(rules);
  const windowed = applyWindow(values, rules, rules.center, rules.width, low, high);
  if (low <= high) return toBytes(windowed, low, high);
  return toBytes(windowed.map((value) => -value), -low, -high);
}
function isPadding(stored, rules) {
  return !!rules.padding && stored >= rules.padding[0] && stored <= rules.padding[1];
}
function ends(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}
function fullRange(rules) {
  if (rules.modality) return [0, 2 ** rules.modality.bits - 1];
  const half = rules.signed ? 2 ** (rules.bitsStored - 1) : 0;
  const slope = rules.slope ?? 1;
  const intercept = rules.intercept ?? 0;
  return [
    -half * slope + intercept,
    (2 ** rules.bitsStored - 1 - half) * slope + intercept
  ];
}
function applyWindow(values, rules, center, width, low, high) {
  const range = high - low;
  if (rules.voiFunction === "SIGMOID" && width > 0) {
    return values.map((value) => range / (1 + Math.exp(-4 * (value - center) / width)) + low);
  }
  if (rules.voiFunction === "LINEAR" && width >= 1) {
    center -= 0.5;
    width -= 1;
  } else if (rules.voiFunction !== "LINEAR_EXACT" || width <= 0) {
    throw new ImageFileError("is a DICOM file whose window cannot be applied");
  }
  return values.map((value) => {
    if (value <= center - width / 2) return low;
    if (value > center + width / 2) return high;
    return ((value - center) / width + 0.5) * range + low;
  });
}
function lookUp(values, lut) {
  const last = lut.table.length - 1;
  return values.map((value) => {
    const place = roundHalfToEven(value) - lut.first;
    return lut.table[Math.min(last, Math.max(0, place))];
  });
}
function toBytes(values, low, high) {
  const scale = 255 / Math.max(high - low, 1e-12);
  const bytes = new Uint8Array(values.length);
  for (let index = 0; index < values.length; index++) {
    bytes[index] = Math.min(255, Math.max(0, roundHalfToEven((values[index] - low) * scale)));
  }
  return bytes;
}

// src/dicom_samples.ts
var dicomParser = __toESM(require_dicomParser_min(), 1);

// src/exif.ts
var ORIENTATION = 274;
var MOST_ENTRIES = 200;
var LONG = 4;
function tiffOrientation(block) {
  const value = tiffTag(block, ORIENTATION);
  return value >= 1 && value <= 8 ? value : 1;
}
function tiffTag(block, tag) {
  if (block.length < 14) return 1;
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const order = view.getUint16(0);
  const little = order === 18761;
  if (!little && order !== 19789) return 1;
  const directory = view.getUint32(4, little);
  if (directory + 2 > block.length) return 1;
  const entries = Math.min(view.getUint16(directory, little), MOST_ENTRIES);
  for (let index = 0; index < entries; index++) {
    const place = directory + 2 + 12 * index;
    if (place + 12 > block.length) return 1;
    if (view.getUint16(place, little) !== tag) continue;
    const isLong = view.getUint16(place + 2, little) === LONG;
    return isLong ? view.getUint32(place + 8, little) : view.getUint16(place + 8, little);
  }
  return 1;
}
function applyOrientation(image, orientation) {
  if (orientation === 1) return image;
  const { width, height, data } = image;
  const transposed = orientation >= 5;
  const flipRows = [3, 4, 7, 8].includes(orientation);
  const flipColumns = [2, 3, 6, 7].includes(orientation);
  const newWidth = transposed ? height : width;
  const newHeight = transposed ? width : height;
  const turned = new Uint8Array(data.length);
  for (let row = 0; row < newHeight; row++) {
    const from = flipRows ? newHeight - 1 - row : row;
    for (let column = 0; column < newWidth; column++) {
      const across = flipColumns ? newWidth - 1 - column : column;
      const source = transposed ? across * width + from : from * width + across;
      turned[row * newWidth + column] = data[source];
    }
  }
  return { width: newWidth, height: newHeight, data: turned };
}

// src/jpeg.ts
var PICTURES = 45057;
var GAIN_MAP = ' hdrgm:Version="';
var STRIP = 2 ** 20;
function isJpeg(bytes) {
  return bytes[0] === 255 && bytes[1] === 216 && bytes[2] === 255;
}
async function decodeJpeg(bytes) {
  const parts = readSegments(bytes);
  if (parts.precision !== 8) {
    throw new ImageFileError(`is a JPEG of ${parts.precision} bits, which browsers do not read`);
  }
  if (parts.components === 4) {
    throw new ImageFileError("is a JPEG of four colours (CMYK), which this page does not read");
  }
  if (parts.pictures > 1) throw new ImageFileError(`holds ${parts.pictures} frames`);
  const grey = new Uint8Array(parts.width * parts.height);
  await readByBrowser(parts, (pixels, start) => {
    for (let index = 0; index < pixels.length / 4; index++) {
      const at2 = 4 * index;
      grey[start + index] = luma(pixels[at2], pixels[at2 + 1], pixels[at2 + 2]);
    }
  });
  const image = { width: parts.width, height: parts.height, data: grey };
  return applyOrientation(image, parts.orientation);
}
function readSegments(bytes, colours = true) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const file = [bytes.subarray(0, 2)];
  let frame;
  let orientation = 1;
  let pictures = 1;
  let gainMap = false;
  let exif = false;
  let adobe = false;
  let place = 2;
  for (; ; ) {
    if (place + 4 > bytes.length) throw new ImageFileError("is truncated");
    if (bytes[place] !== 255) throw new ImageFileError("is damaged (no JPEG segment)");
    const marker = bytes[place + 1];
    if (marker === 255) {
      place += 1;
      continue;
    }
    const length = view.getUint16(place + 2);
    const end = place + 2 + length;
    if (length < 2) throw new ImageFileError("is damaged (a segment without length)");
    if (end > bytes.length) throw new ImageFileError("is truncated");
    const data = bytes.subarray(place + 4, end);
    const isFrame = marker >= 192 && marker <= 207 && ![196, 200, 204].includes(marker);
    if (isFrame && !frame) {
      if (data.length < 6) throw new ImageFileError("is damaged (its header is not whole)");
      const sizes = new DataView(data.buffer, data.byteOffset, data.byteLength);
      const [height, width] = [sizes.getUint16(1), sizes.getUint16(3)];
      frame = { width, height, precision: data[0], components: data[5] };
      checkSize(width, height);
    }
    if (marker === 225 && !exif && startsWith(data, "Exif\0\0")) {
      exif = true;
      orientation = tiffOrientation(data.subarray(6));
    }
    if (marker === 225) gainMap ||= new TextDecoder("latin1").decode(data).includes(GAIN_MAP);
    if (marker === 226 && startsWith(data, "MPF\0")) pictures = tiffTag(data.subarray(4), PICTURES);
    const isAdobe = marker === 238 && startsWith(data, "Adobe");
    adobe ||= isAdobe;
    const first = colours ? 225 : 224;
    const application = marker >= first && marker <= 239 || marker === 254;
    if (!application || isAdobe) file.push(bytes.subarray(place, end));
    place = end;
    if (marker === 218) break;
  }
  if (!frame) throw new ImageFileError("is damaged (it has no header)");
  const last = endOfImage(bytes, place);
  if (last < 0) throw new ImageFileError("is truncated");
  file.push(bytes.subarray(place, last));
  return { ...frame, orientation, pictures: gainMap ? 1 : pictures, adobe, file };
}
function endOfImage(bytes, start) {
  let place = start;
  while ((place = bytes.indexOf(255, place)) >= 0) {
    if (bytes[place + 1] === 217) return place + 2;
    place += 1;
  }
  return -1;
}
function startsWith(bytes, text2) {
  return [...text2].every((letter, index) => bytes[index] === letter.charCodeAt(0));
}
async function readByBrowser(parts, take) {
  const { width, height } = parts;
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob(parts.file, { type: "image/jpeg" }), {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none"
    });
  } catch {
    throw new ImageFileError("is damaged (the browser cannot decode it)");
  }
  try {
    if (bitmap.width !== width || bitmap.height !== height) {
      throw new ImageFileError("is damaged (its size is not the one that it claims)");
    }
    const rows = Math.max(1, Math.floor(STRIP / width));
    const context = readableContext(width, Math.min(rows, height));
    for (let top = 0; top < height; top += rows) {
      const n = Math.min(rows, height - top);
      context.drawImage(bitmap, 0, top, width, n, 0, 0, width, n);
      take(context.getImageData(0, 0, width, n).data, top * width);
    }
  } finally {
    bitmap.close();
  }
}
var honest;
function readableContext(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  if (!context) throw new ImageFileError("cannot be decoded (the browser gives no canvas)");
  honest ??= readsBackWhatItWrote();
  if (!honest) {
    throw new ImageFileError(
      "cannot be decoded exactly: this browser alters pixels that pages read (its protection against fingerprinting). Allow this page to read canvases, or convert to PNG"
    );
  }
  return context;
}
function readsBackWhatItWrote() {
  const side = 64;
  const context = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true });
  if (!context) return false;
  const written = new ImageData(side, side);
  for (let index = 0; index < written.data.length; index++) {
    written.data[index] = index % 4 === 3 ? 255 : index * 37 % 256;
  }
  context.putImageData(written, 0, 0);
  const read = context.getImageData(0, 0, side, side).data;
  return read.every((value, index) => value === written.data[index]);
}

// src/dicom_samples.ts
var RLE = "1.2.840.10008.1.2.5";
var JPEG = ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"];
var BIG_ENDIAN = "1.2.840.10008.1.2.2";
var UNCOMPRESSED = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG_ENDIAN];
var OTHERS = [
  [/^1\.2\.840\.10008\.1\.2\.4\.(57|70)$/, "JPEG Lossless"],
  [/^1\.2\.840\.10008\.1\.2\.4\.8[01]$/, "JPEG-LS"],
  [/^1\.2\.840\.10008\.1\.2\.4\.9[0-3]$/, "JPEG 2000"],
  [/^1\.2\.840\.10008\.1\.2\.4\.20[1-3]$/, "HTJ2K"],
  [/^1\.2\.840\.10008\.1\.2\.4\.1/, "video"]
];
var TRUNCATED = "is a DICOM file whose pixels are truncated";
async function readSamples(dataset, bytes, layout) {
  const element = dataset.elements.x7fe00010;
  if (UNCOMPRESSED.includes(layout.syntax)) {
    return uncompressed(bytes, element.dataOffset, element.length, element.vr, layout);
  }
  if (layout.syntax === RLE) {
    const { length, unpacked } = unpackRle(frameOf(dataset, element), layout);
    return toSamples(unpacked, length, { ...layout, planar: true }, true);
  }
  if (JPEG.includes(layout.syntax)) return jpegSamples(frameOf(dataset, element), layout);
  const name = OTHERS.find(([pattern]) => pattern.test(layout.syntax))?.[1] ?? "an unknown way";
  throw new ImageFileError(
    `is a DICOM file compressed by ${name}, which this page does not read (kerascxr predict may)`
  );
}
function frameOf(dataset, element) {
  const n = element.fragments?.length ?? 0;
  if (!n) throw new ImageFileError(TRUNCATED);
  const frame = dicomParser.readEncapsulatedPixelDataFromFragments(dataset, element, 0, n);
  return Uint8Array.from(frame);
}
function uncompressed(bytes, offset, length, vr, layout) {
  const big = layout.syntax === BIG_ENDIAN;
  let data = bytes.slice(offset, offset + length);
  if (big && layout.allocated === 8 && vr === "OW") data = swapPairs(data);
  if (layout.kind === "YBR_FULL_422" && layout.samples === 3) data = upsample422(data, layout);
  const needed = layout.width * layout.height * layout.samples * (layout.allocated / 8);
  if (data.length < needed) throw new ImageFileError(TRUNCATED);
  return toSamples(data, needed, layout, !big);
}
function swapPairs(data) {
  const swapped = new Uint8Array(data.length);
  for (let index = 0; index + 1 < data.length; index += 2) {
    swapped[index] = data[index + 1];
    swapped[index + 1] = data[index];
  }
  return swapped;
}
function upsample422(data, layout) {
  const pixels = layout.width * layout.height;
  if (layout.allocated !== 8 || data.length < pixels * 2) throw new ImageFileError(TRUNCATED);
  const full = new Uint8Array(pixels * 3);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const pair = 4 * (pixel >> 1);
    full[3 * pixel] = data[pair + (pixel & 1)];
    full[3 * pixel + 1] = data[pair + 2];
    full[3 * pixel + 2] = data[pair + 3];
  }
  return full;
}
function toSamples(data, length, layout, littleEndian) {
  const size = layout.allocated / 8;
  const n = length / size;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const values = emptySamples(n, layout);
  const unused = layout.allocated - layout.stored;
  const pixels = layout.width * layout.height;
  for (let index = 0; index < n; index++) {
    let value = size === 1 ? data[index] : size === 2 ? view.getUint16(2 * index, littleEndian) : view.getUint32(4 * index, littleEndian);
    if (unused) value = value << 32 - layout.stored >>> 32 - layout.stored;
    if (layout.signed) value = value << 32 - layout.stored >> 32 - layout.stored;
    const planar = layout.planar && layout.samples > 1;
    const place = planar ? index % pixels * layout.samples + Math.floor(index / pixels) : index;
    values[place] = value;
  }
  return toRgb(values, layout);
}
function emptySamples(n, { allocated, signed }) {
  if (allocated === 8) return signed ? new Int8Array(n) : new Uint8Array(n);
  if (allocated === 16) return signed ? new Int16Array(n) : new Uint16Array(n);
  return signed ? new Int32Array(n) : new Uint32Array(n);
}
function toRgb(values, layout) {
  if (layout.samples !== 3 || !layout.kind.startsWith("YBR_FULL")) return values;
  if (layout.allocated !== 8 || layout.signed) throw new ImageFileError("is a DICOM file that cannot be decoded");
  const [f, clip] = [Math.fround, (v2) => Math.min(255, Math.max(0, Math.floor(v2)))];
  const [toRed, toBlue] = [f(1.402), f(1.772)];
  const [greenOfBlue, greenOfRed] = [f(-0.114 * 1.772 / 0.587), f(-0.299 * 1.402 / 0.587)];
  for (let at2 = 0; at2 + 2 < values.length; at2 += 3) {
    const [y, cb, cr] = [values[at2], values[at2 + 1] - 128, values[at2 + 2] - 128];
    values[at2] = clip(f(f(y + f(toRed * cr)) + 0.5));
    values[at2 + 1] = clip(f(f(f(y + f(greenOfBlue * cb)) + f(greenOfRed * cr)) + 0.5));
    values[at2 + 2] = clip(f(f(y + f(toBlue * cb)) + 0.5));
  }
  return values;
}
function unpackRle(frame, layout) {
  const size = layout.allocated / 8;
  const pixels = layout.width * layout.height;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const segments = layout.samples * size;
  if (frame.length < 64 || view.getUint32(0, true) !== segments) {
    throw new ImageFileError("is a DICOM file that cannot be decoded");
  }
  const unpacked = new Uint8Array(pixels * segments);
  for (let segment = 0; segment < segments; segment++) {
    const start = view.getUint32(4 + 4 * segment, true);
    const next = segment + 1 < segments ? view.getUint32(8 + 4 * segment, true) : frame.length;
    const sample2 = Math.floor(segment / size);
    const byte = size - 1 - segment % size;
    unpackSegment(frame.subarray(start, next), pixels, (index, value) => {
      unpacked[(sample2 * pixels + index) * size + byte] = value;
    });
  }
  return { length: unpacked.length, unpacked };
}
function unpackSegment(packed, pixels, put) {
  let place = 0;
  let index = 0;
  while (index < pixels) {
    const code = packed[place++];
    if (code === void 0) throw new ImageFileError(TRUNCATED);
    if (code === 128) continue;
    const n = Math.min(code < 128 ? code + 1 : 257 - code, pixels - index);
    for (let step = 0; step < n; step++) {
      const value = packed[code < 128 ? place + step : place];
      if (value === void 0) throw new ImageFileError(TRUNCATED);
      put(index++, value);
    }
    place += code < 128 ? code + 1 : 1;
  }
}
var UNTRANSFORMED = Uint8Array.from([
  255,
  238,
  0,
  14,
  65,
  100,
  111,
  98,
  101,
  0,
  100,
  0,
  0,
  0,
  0,
  0
]);
async function jpegSamples(frame, layout) {
  const { width, height, samples } = layout;
  let parts = readSegments(frame);
  if (parts.precision !== 8 || layout.stored !== 8 || layout.allocated !== 8) {
    throw new ImageFileError("is a DICOM file of JPEG with 12 bits, which browsers do not read");
  }
  if (parts.width !== width || parts.height !== height || parts.components !== samples) {
    throw new ImageFileError("is a DICOM file whose JPEG is not of the size that it states");
  }
  if (samples === 3 && !parts.adobe) {
    parts = readSegments(frame, false);
    parts.file.splice(1, 0, UNTRANSFORMED);
  }
  const values = new Uint8Array(width * height * samples);
  await readByBrowser(parts, (pixels, start) => {
    for (let index = 0; index < pixels.length / 4; index++) {
      for (let sample2 = 0; sample2 < samples; sample2++) {
        values[(start + index) * samples + sample2] = pixels[4 * index + sample2];
      }
    }
  });
  return toRgb(values, layout);
}

// src/dicom.ts
var PREAMBLE = 128;
var DEFLATED = "1.2.840.10008.1.2.1.99";
var BIG_ENDIAN2 = "1.2.840.10008.1.2.2";
var SPACINGS = [
  ["x00280030", "PixelSpacing"],
  ["x00181164", "ImagerPixelSpacing"],
  ["x00182010", "NominalScannedPixelSpacing"]
];
function isDicom(bytes) {
  return String.fromCharCode(...bytes.subarray(PREAMBLE, PREAMBLE + 4)) === "DICM";
}
async function decodeDicom(bytes) {
  const dataset = parse(bytes);
  const frames = count(dataset, "x00280008", "NumberOfFrames", 1);
  if (frames > 1) throw new ImageFileError(`holds ${frames} frames`);
  if (!dataset.elements.x7fe00010) {
    throw new ImageFileError("is a DICOM file without an image");
  }
  const height = count(dataset, "x00280010", "Rows", 0);
  const width = count(dataset, "x00280011", "Columns", 0);
  if (!(height * width > 0 && height * width <= MAX_PIXELS)) {
    const most = `not 1 to ${MAX_PIXELS / 1e6} million`;
    throw new ImageFileError(`claims ${width} x ${height} pixels, ${most}`);
  }
  try {
    const data = await readGrey(dataset, bytes, width, height);
    return { width, height, data, spacing: readSpacing(dataset), facts: readFacts(dataset), modality: modalityOf(dataset) };
  } catch (error) {
    if (error instanceof ImageFileError) throw error;
    throw new ImageFileError("is a DICOM file that cannot be decoded");
  }
}
function parse(bytes) {
  let header;
  try {
    header = dicomParser2.readPart10Header(bytes);
  } catch {
    throw new ImageFileError("is a damaged DICOM file");
  }
  if (text(header, "x00020010") === DEFLATED) {
    throw new ImageFileError("is a DICOM file deflated as a whole, which is not read");
  }
  try {
    return dicomParser2.parseDicom(bytes, {
      vrCallback: (tag) => tag === "x00283000" || tag === "x00283010" ? "SQ" : void 0
    });
  } catch (error) {
    const partly = error?.dataSet;
    if (!partly?.elements.x7fe00010) throw new ImageFileError("is a damaged DICOM file");
    Object.assign(partly.elements, header.elements);
    return partly;
  }
}
async function readGrey(dataset, bytes, width, height) {
  const samples = Math.max(1, dataset.uint16("x00280002") ?? 1);
  const allocated = dataset.uint16("x00280100") ?? 0;
  const stored = dataset.uint16("x00280101") ?? allocated;
  const signed = (dataset.uint16("x00280103") ?? 0) === 1;
  const kind = text(dataset, "x00280004");
  if (![8, 16, 32].includes(allocated)) {
    const bits = allocated === 1 ? "1 bit" : `${allocated} bits`;
    throw new ImageFileError(`is a DICOM file of ${bits} a pixel, which this page does not read`);
  }
  if (!(stored >= 1 && stored <= allocated) || samples !== 1 && samples !== 3) {
    throw new ImageFileError("is a damaged DICOM file");
  }
  const syntax = text(dataset, "x00020010");
  const planar = (dataset.uint16("x00280006") ?? 0) === 1;
  const layout = { width, height, samples, allocated, stored, signed, planar, kind, syntax };
  const values = await readSamples(dataset, bytes, layout);
  if (samples === 3) return lumaOf(values, 2 ** stored - 1);
  if (kind !== "MONOCHROME1" && kind !== "MONOCHROME2") {
    const shown = kind.replace(/[^A-Z0-9_ ]/g, "?").slice(0, 16);
    throw new ImageFileError(`has the colours ${shown}, which are not read`);
  }
  const rules = readRules(dataset, { allocated, stored, signed, littleEndian: syntax !== BIG_ENDIAN2 });
  const grey = display(values, rules);
  if (kind === "MONOCHROME1") {
    for (let index = 0; index < grey.length; index++) grey[index] = 255 - grey[index];
  }
  return grey;
}
function lumaOf(values, full) {
  const grey = new Uint8Array(values.length / 3);
  for (let index = 0; index < grey.length; index++) {
    const at2 = 3 * index;
    const value = values[at2] * 0.299 + values[at2 + 1] * 0.587 + values[at2 + 2] * 0.114;
    grey[index] = Math.min(255, Math.max(0, roundHalfToEven(value * (255 / full))));
  }
  return grey;
}
function readRules(dataset, storage) {
  const modality = readLut(dataset, "x00283000", storage);
  const [slope, intercept] = [number(dataset, "x00281053"), number(dataset, "x00281052")];
  const rescaled = !modality && slope !== void 0 && intercept !== void 0;
  return {
    bitsStored: storage.stored,
    signed: storage.signed,
    modality,
    voi: readLut(dataset, "x00283010", storage),
    slope: rescaled ? slope : void 0,
    intercept: rescaled ? intercept : void 0,
    center: number(dataset, "x00281050"),
    width: number(dataset, "x00281051"),
    voiFunction: text(dataset, "x00281056").toUpperCase() || "LINEAR",
    padding: readPadding(dataset, storage)
  };
}
function readPadding(dataset, storage) {
  const [value, limit] = ["x00280120", "x00280121"].map((tag) => {
    const word2 = dataset.uint16(tag);
    if (word2 === void 0) return void 0;
    const vr = dataset.elements[tag]?.vr;
    const negative = word2 >= 32768 && (vr ? vr === "SS" : storage.signed);
    const size = 2 ** storage.allocated;
    const unsigned = (negative ? word2 - 65536 + size : word2) % size;
    return storage.signed && unsigned >= size / 2 ? unsigned - size : unsigned;
  });
  if (value === void 0) return void 0;
  return [Math.min(value, limit ?? value), Math.max(value, limit ?? value)];
}
function readLut(dataset, tag, storage) {
  const item = dataset.elements[tag]?.items?.[0]?.dataSet;
  const descriptor = item?.elements.x00283002;
  const data = item?.elements.x00283006;
  if (!item || !descriptor || !data) return void 0;
  const bytes = item.byteArray;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word2 = (at2) => view.getUint16(at2, storage.littleEndian);
  if (descriptor.length < 6) throw new ImageFileError("is a damaged DICOM file");
  const entries = word2(descriptor.dataOffset) || 65536;
  let first = word2(descriptor.dataOffset + 2);
  const bits = word2(descriptor.dataOffset + 4);
  const ambiguous = !descriptor.vr || descriptor.vr === "xs";
  const signed = ambiguous ? storage.signed : descriptor.vr === "SS";
  if (signed && first >= 32768) first -= 65536;
  if (!(bits >= 1 && bits <= 16)) {
    throw new ImageFileError(`has a lookup table with entries of ${bits} bits, not 1 to 16`);
  }
  const words = Math.floor(data.length / 2);
  const inBytes = bits <= 8 && words === entries + 1 >> 1 && words < entries;
  const length = inBytes ? words * 2 : words;
  if (length < entries) {
    const states = `not ${entries} as it states`;
    throw new ImageFileError(`has a lookup table of ${length} entries, ${states}`);
  }
  const table = new Uint16Array(entries);
  for (let index = 0; index < entries; index++) {
    if (!inBytes) {
      table[index] = word2(data.dataOffset + 2 * index);
      continue;
    }
    const pair = word2(data.dataOffset + 2 * (index >> 1));
    table[index] = index % 2 ? pair >> 8 : pair & 255;
  }
  return { first, bits, table };
}
function readSpacing(dataset) {
  for (const [tag, attribute] of SPACINGS) {
    const given = text(dataset, tag).split("\\");
    const [rowMm, columnMm] = given.map((part) => part.trim() ? Number(part) : NaN);
    if (given.length !== 2 || !positive(rowMm) || !positive(columnMm)) continue;
    const calibration = attribute === "PixelSpacing" ? text(dataset, "x00280a02") : "";
    return { rowMm, columnMm, attribute, calibration: word(calibration) };
  }
  return void 0;
}
function positive(value) {
  return value !== void 0 && Number.isFinite(value) && value > 0;
}
function readFacts(dataset) {
  const facts = [];
  const add = (label, value) => {
    if (value) facts.push([label, value]);
  };
  add("Modality", modalityOf(dataset));
  add("View", word(text(dataset, "x00185101")));
  add("Grey scale", word(text(dataset, "x00280004")));
  const center = number(dataset, "x00281050");
  const width = number(dataset, "x00281051");
  if (dataset.elements.x00283010?.items?.length) add("Window", "the file's lookup table");
  else if (center !== void 0 && width !== void 0) {
    add("Window", `centre ${center}, width ${width}, as the file states`);
  } else add("Window", "lowest to highest value");
  return facts;
}
function modalityOf(dataset) {
  return word(text(dataset, "x00080060"));
}
function word(value) {
  return value.replace(/[^A-Za-z0-9_ -]/g, "").slice(0, 16).trim();
}
function text(dataset, tag) {
  return (dataset.string(tag) ?? "").trim();
}
function number(dataset, tag) {
  const first = text(dataset, tag).split("\\")[0].trim();
  if (!first) return void 0;
  const value = Number(first);
  if (!Number.isFinite(value)) throw new ImageFileError("is a damaged DICOM file");
  return value;
}
function count(dataset, tag, name, otherwise) {
  const element = dataset.elements[tag];
  if (!element?.length) return otherwise;
  const binary = tag !== "x00280008";
  const value = binary ? dataset.uint16(tag) : Number(text(dataset, tag) || otherwise);
  if (value === void 0 || !Number.isInteger(value) || binary && element.length !== 2) {
    throw new ImageFileError(`is a DICOM file whose ${name} is not a number`);
  }
  return value || otherwise;
}

// src/png.ts
var SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
var PALETTE = 3;
var CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
var DEPTHS = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16]
};
var PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2]
];
var CRC_TABLE = new Uint32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? value >>> 1 ^ 3988292384 : value >>> 1;
  return value;
});
function crc32(bytes) {
  let value = 4294967295;
  for (let index = 0; index < bytes.length; index++) {
    value = CRC_TABLE[(value ^ bytes[index]) & 255] ^ value >>> 8;
  }
  return (value ^ 4294967295) >>> 0;
}
function isPng(bytes) {
  return SIGNATURE.every((value, index) => bytes[index] === value);
}
async function decodePng(bytes) {
  const chunks = readChunks(bytes);
  const grey = await readPixels(chunks);
  return applyOrientation(grey, chunks.orientation);
}
function readChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let header;
  let palette = new Uint8Array(0);
  let transparency;
  let orientation = 1;
  const pixels = [];
  let place = 8;
  for (; ; ) {
    if (place + 12 > bytes.length) throw new ImageFileError("is truncated");
    const length = view.getUint32(place);
    const end = place + 8 + length;
    if (end + 4 > bytes.length) throw new ImageFileError("is truncated");
    const name = String.fromCharCode(...bytes.subarray(place + 4, place + 8));
    const data = bytes.subarray(place + 8, end);
    if (!header && name !== "IHDR") throw new ImageFileError("is damaged (it has no header)");
    if (name === "IHDR") {
      header = readHeader(data);
    } else if (name === "PLTE") {
      palette = data;
    } else if (name === "tRNS") {
      transparency = data;
    } else if (name === "eXIf" && !pixels.length && orientation === 1) {
      orientation = tiffOrientation(data);
    } else if (name === "IDAT") {
      pixels.push(data);
    } else if (name === "acTL") {
      throw new ImageFileError("is an animation, not one image");
    }
    if (crc32(bytes.subarray(place + 4, end)) !== view.getUint32(end)) {
      throw new ImageFileError(`is damaged (a wrong check sum in ${printable(name)})`);
    }
    if (name === "IEND") break;
    place = end + 4;
  }
  if (!pixels.length) throw new ImageFileError("is damaged (it has no pixels)");
  if (header?.colour === PALETTE && palette.length < 3) {
    throw new ImageFileError("is damaged (it has no palette)");
  }
  return { header, palette, transparency, orientation, pixels };
}
function printable(name) {
  return name.replace(/[^A-Za-z]/g, "?");
}
function readHeader(data) {
  if (data.length !== 13) throw new ImageFileError("is damaged (its header is not whole)");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const width = view.getUint32(0);
  const height = view.getUint32(4);
  const [depth, colour, compression, filter, interlace] = [...data.subarray(8)];
  if (!DEPTHS[colour]?.includes(depth) || compression || filter || interlace > 1) {
    throw new ImageFileError("is damaged (its header is not one of PNG)");
  }
  checkSize(width, height);
  return { width, height, depth, colour, interlaced: interlace === 1 };
}
async function readPixels(chunks) {
  const { width, height, depth, colour, interlaced } = chunks.header;
  const deep = colour === 0 && depth === 16;
  const grey = new Uint8Array(deep ? 0 : width * height);
  const values = new Uint16Array(deep ? width * height : 0);
  const toGrey = deep ? void 0 : greyOf(chunks);
  const bits = depth * CHANNELS[colour];
  const source = new RowSource(chunks.pixels);
  try {
    for (const [left, top, across, down] of interlaced ? PASSES : [[0, 0, 1, 1]]) {
      const columns = Math.ceil((width - left) / across);
      const rows = Math.ceil((height - top) / down);
      if (columns <= 0 || rows <= 0) continue;
      const length = Math.ceil(columns * bits / 8);
      let above = new Uint8Array(length);
      for (let row = 0; row < rows; row++) {
        const line = await source.take(length + 1);
        const raw = line.subarray(1);
        unfilter(line[0], raw, above, Math.max(1, bits >> 3));
        const start = (top + row * down) * width + left;
        if (toGrey) {
          toGrey(raw, grey, start, across, columns);
        } else {
          for (let column = 0; column < columns; column++) {
            values[start + column * across] = raw[2 * column] << 8 | raw[2 * column + 1];
          }
        }
        above = raw;
      }
    }
  } finally {
    await source.close();
  }
  return { width, height, data: deep ? scaleDeep(values) : grey };
}
function scaleDeep(values) {
  let largest = 0;
  for (let index = 0; index < values.length; index++) {
    if (values[index] > largest) largest = values[index];
  }
  const full = BIT_DEPTHS.map((bits) => 2 ** bits - 1).find((scale) => scale >= largest);
  const table = new Uint8Array(full + 1);
  for (let value = 0; value <= full; value++) {
    table[value] = roundHalfToEven(value * (255 / full));
  }
  const grey = new Uint8Array(values.length);
  for (let index = 0; index < values.length; index++) grey[index] = table[values[index]];
  return grey;
}
function greyOf({ header, palette, transparency }) {
  const { depth, colour } = header;
  const channels = CHANNELS[colour];
  if (colour === PALETTE) {
    const table = paletteGreys(palette, transparency);
    return (raw, grey, start, step, columns) => {
      for (let column = 0; column < columns; column++) {
        grey[start + column * step] = table[sample(raw, column, depth)];
      }
    };
  }
  if (channels === 1) {
    const scale = depth < 8 ? 255 / (2 ** depth - 1) : 1;
    const clear2 = depth === 8 && transparency && transparency.length >= 2 ? transparency[1] : -1;
    return (raw, grey, start, step, columns) => {
      for (let column = 0; column < columns; column++) {
        const value = sample(raw, column, depth);
        grey[start + column * step] = value === clear2 ? 0 : value * scale;
      }
    };
  }
  const size = depth / 8;
  const clear = transparency && channels === 3 && transparency.length >= 6 ? transparency : null;
  return (raw, grey, start, step, columns) => {
    for (let column = 0; column < columns; column++) {
      const at2 = column * channels * size;
      const red = raw[at2];
      const green = channels > 2 ? raw[at2 + size] : red;
      const blue = channels > 2 ? raw[at2 + 2 * size] : red;
      let alpha = 255;
      if (channels % 2 === 0) alpha = raw[at2 + (channels - 1) * size];
      else if (clear && isClear(raw, at2, size, clear)) alpha = 0;
      grey[start + column * step] = lumaOnBlack(red, green, blue, alpha);
    }
  };
}
function isClear(raw, at2, size, clear) {
  for (let channel = 0; channel < 3; channel++) {
    if (size === 2 && raw[at2 + 2 * channel] !== clear[2 * channel]) return false;
    if (raw[at2 + size * channel + size - 1] !== clear[2 * channel + 1]) return false;
  }
  return true;
}
function paletteGreys(palette, transparency) {
  const greys = new Uint8Array(256);
  for (let index = 0; index < Math.min(256, Math.floor(palette.length / 3)); index++) {
    const [red, green, blue] = palette.subarray(3 * index, 3 * index + 3);
    greys[index] = lumaOnBlack(red, green, blue, transparency?.[index] ?? 255);
  }
  return greys;
}
function sample(raw, column, depth) {
  if (depth === 8) return raw[column];
  const bit = column * depth;
  return raw[bit >> 3] >> 8 - depth - (bit & 7) & 2 ** depth - 1;
}
function unfilter(kind, raw, above, step) {
  const n = raw.length;
  if (kind === 1) {
    for (let i = step; i < n; i++) raw[i] = raw[i] + raw[i - step];
  } else if (kind === 2) {
    for (let i = 0; i < n; i++) raw[i] = raw[i] + above[i];
  } else if (kind === 3) {
    for (let i = 0; i < n; i++) {
      raw[i] = raw[i] + ((i < step ? 0 : raw[i - step]) + above[i] >> 1);
    }
  } else if (kind === 4) {
    for (let i = 0; i < n; i++) {
      const left = i < step ? 0 : raw[i - step];
      const corner = i < step ? 0 : above[i - step];
      const up = above[i];
      const estimate = left + up - corner;
      const toLeft = Math.abs(estimate - left);
      const toUp = Math.abs(estimate - up);
      const toCorner = Math.abs(estimate - corner);
      raw[i] = raw[i] + (toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner);
    }
  } else if (kind !== 0) {
    throw new ImageFileError("is damaged (an unknown filter)");
  }
}
var RowSource = class {
  reader;
  piece = new Uint8Array(0);
  place = 0;
  constructor(parts) {
    const unpacked = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
    this.reader = unpacked.getReader();
  }
  /** Returns the next bytes, in memory of their own. */
  async take(length) {
    const taken = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      if (this.place === this.piece.length) await this.next();
      const n = Math.min(length - filled, this.piece.length - this.place);
      taken.set(this.piece.subarray(this.place, this.place + n), filled);
      this.place += n;
      filled += n;
    }
    return taken;
  }
  async next() {
    let result;
    try {
      result = await this.reader.read();
    } catch {
      throw new ImageFileError("is damaged (its pixels cannot be unpacked)");
    }
    if (result.done) throw new ImageFileError("is truncated");
    this.piece = result.value;
    this.place = 0;
  }
  /** Stops unpacking. */
  async close() {
    await this.reader.cancel().catch(() => void 0);
  }
};

// src/decode.ts
async function decodeFile(file) {
  if (file.size === 0) throw new ImageFileError("is empty (0 bytes)");
  if (file.size > MAX_BYTES) {
    throw new ImageFileError(`has ${(file.size / 1e6).toFixed(0)} MB, which is too much`);
  }
  let bytes;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new ImageFileError("cannot be opened");
  }
  if (isPng(bytes)) return { ...await decodePng(bytes), format: "PNG", facts: [] };
  if (isJpeg(bytes)) return { ...await decodeJpeg(bytes), format: "JPEG", facts: [] };
  if (isDicom(bytes)) return { ...await decodeDicom(bytes), format: "DICOM" };
  throw new ImageFileError(whatItIs(bytes));
}
function whatItIs(bytes) {
  const start = new TextDecoder().decode(bytes.subarray(0, 512)).trimStart().toLowerCase();
  if (start.startsWith("<!doctype") || start.startsWith("<html")) return "is an HTML page, not an image";
  if (start.startsWith("<svg") || start.startsWith("<?xml") && start.includes("<svg")) {
    return "is an SVG drawing, not an X-ray";
  }
  if (/^(gif8|ii\*\0|mm\0\*|bm|riff....webp)/s.test(start)) {
    return "is of a format that this page does not read (kerascxr predict does): save it as PNG";
  }
  return "is not a PNG, JPEG or DICOM image";
}

// node_modules/onnxruntime-web/dist/ort.wasm.min.mjs
var Ve = Object.defineProperty;
var On = Object.getOwnPropertyDescriptor;
var Ln = Object.getOwnPropertyNames;
var Pn = Object.prototype.hasOwnProperty;
var Je = ((e) => typeof __require < "u" ? __require : typeof Proxy < "u" ? new Proxy(e, { get: (t, n) => (typeof __require < "u" ? __require : t)[n] }) : e)(function(e) {
  if (typeof __require < "u") return __require.apply(this, arguments);
  throw Error('Dynamic require of "' + e + '" is not supported');
});
var E = (e, t, n) => () => {
  if (n) throw n[0];
  try {
    return e && (t = e(e = 0)), t;
  } catch (o) {
    throw n = [o], o;
  }
};
var qe = (e, t) => {
  for (var n in t) Ve(e, n, { get: t[n], enumerable: true });
};
var Dn = (e, t, n, o) => {
  if (t && typeof t == "object" || typeof t == "function") for (let r of Ln(t)) !Pn.call(e, r) && r !== n && Ve(e, r, { get: () => t[r], enumerable: !(o = On(t, r)) || o.enumerable });
  return e;
};
var wt = (e) => Dn(Ve({}, "__esModule", { value: true }), e);
var Se;
var q;
var pe;
var _n;
var ht;
var Ye = E(() => {
  "use strict";
  Se = /* @__PURE__ */ new Map(), q = [], pe = (e, t, n) => {
    if (t && typeof t.init == "function" && typeof t.createInferenceSessionHandler == "function") {
      let o = Se.get(e);
      if (o === void 0) Se.set(e, { backend: t, priority: n });
      else {
        if (o.priority > n) return;
        if (o.priority === n && o.backend !== t) throw new Error(`cannot register backend "${e}" using priority ${n}`);
      }
      if (n >= 0) {
        let r = q.indexOf(e);
        r !== -1 && q.splice(r, 1);
        for (let i = 0; i < q.length; i++) if (Se.get(q[i]).priority <= n) {
          q.splice(i, 0, e);
          return;
        }
        q.push(e);
      }
      return;
    }
    throw new TypeError("not a valid backend");
  }, _n = async (e) => {
    let t = Se.get(e);
    if (!t) return "backend not found.";
    if (t.initialized) return t.backend;
    if (t.aborted) return t.error;
    {
      let n = !!t.initPromise;
      try {
        return n || (t.initPromise = t.backend.init(e)), await t.initPromise, t.initialized = true, t.backend;
      } catch (o) {
        return n || (t.error = `${o}`, t.aborted = true), t.error;
      } finally {
        delete t.initPromise;
      }
    }
  }, ht = async (e) => {
    let t = e.executionProviders || [], n = t.map((u) => typeof u == "string" ? u : u.name), o = n.length === 0 ? q : n, r, i = [], s = /* @__PURE__ */ new Set();
    for (let u of o) {
      let f = await _n(u);
      typeof f == "string" ? i.push({ name: u, err: f }) : (r || (r = f), r === f && s.add(u));
    }
    if (!r) throw new Error(`no available backend found. ERR: ${i.map((u) => `[${u.name}] ${u.err}`).join(", ")}`);
    for (let { name: u, err: f } of i) n.includes(u) && console.warn(`removing requested execution provider "${u}" from session options because it is not available: ${f}`);
    let a = t.filter((u) => s.has(typeof u == "string" ? u : u.name));
    return [r, new Proxy(e, { get: (u, f) => f === "executionProviders" ? a : Reflect.get(u, f) })];
  };
});
var bt = E(() => {
  "use strict";
  Ye();
});
var yt;
var gt = E(() => {
  "use strict";
  yt = "1.30.0";
});
var Et;
var D;
var Ze = E(() => {
  "use strict";
  gt();
  Et = "warning", D = { wasm: {}, webgl: {}, webgpu: {}, versions: { common: yt }, set logLevel(e) {
    if (e !== void 0) {
      if (typeof e != "string" || ["verbose", "info", "warning", "error", "fatal"].indexOf(e) === -1) throw new Error(`Unsupported logging level: ${e}`);
      Et = e;
    }
  }, get logLevel() {
    return Et;
  } };
  Object.defineProperty(D, "logLevel", { enumerable: true });
});
var B;
var St = E(() => {
  "use strict";
  Ze();
  B = D;
});
var Tt;
var It;
var At = E(() => {
  "use strict";
  Tt = (e, t) => {
    let n = typeof document < "u" ? document.createElement("canvas") : new OffscreenCanvas(1, 1);
    n.width = e.dims[3], n.height = e.dims[2];
    let o = n.getContext("2d");
    if (o != null) {
      let r, i;
      t?.tensorLayout !== void 0 && t.tensorLayout === "NHWC" ? (r = e.dims[2], i = e.dims[3]) : (r = e.dims[3], i = e.dims[2]);
      let s = t?.format !== void 0 ? t.format : "RGB", a = t?.norm, u, f;
      a === void 0 || a.mean === void 0 ? u = [255, 255, 255, 255] : typeof a.mean == "number" ? u = [a.mean, a.mean, a.mean, a.mean] : (u = [a.mean[0], a.mean[1], a.mean[2], 0], a.mean[3] !== void 0 && (u[3] = a.mean[3])), a === void 0 || a.bias === void 0 ? f = [0, 0, 0, 0] : typeof a.bias == "number" ? f = [a.bias, a.bias, a.bias, a.bias] : (f = [a.bias[0], a.bias[1], a.bias[2], 0], a.bias[3] !== void 0 && (f[3] = a.bias[3]));
      let l = i * r, c = 0, d = l, p = l * 2, h = -1;
      s === "RGBA" ? (c = 0, d = l, p = l * 2, h = l * 3) : s === "RGB" ? (c = 0, d = l, p = l * 2) : s === "RBG" && (c = 0, p = l, d = l * 2);
      for (let b = 0; b < i; b++) for (let A = 0; A < r; A++) {
        let m = (e.data[c++] - f[0]) * u[0], w = (e.data[d++] - f[1]) * u[1], O = (e.data[p++] - f[2]) * u[2], g = h === -1 ? 255 : (e.data[h++] - f[3]) * u[3];
        o.fillStyle = "rgba(" + m + "," + w + "," + O + "," + g + ")", o.fillRect(A, b, 1, 1);
      }
      if ("toDataURL" in n) return n.toDataURL();
      throw new Error("toDataURL is not supported");
    } else throw new Error("Can not access image data");
  }, It = (e, t) => {
    let n = typeof document < "u" ? document.createElement("canvas").getContext("2d") : new OffscreenCanvas(1, 1).getContext("2d"), o;
    if (n != null) {
      let r, i, s;
      t?.tensorLayout !== void 0 && t.tensorLayout === "NHWC" ? (r = e.dims[2], i = e.dims[1], s = e.dims[3]) : (r = e.dims[3], i = e.dims[2], s = e.dims[1]);
      let a = t !== void 0 && t.format !== void 0 ? t.format : "RGB", u = t?.norm, f, l;
      u === void 0 || u.mean === void 0 ? f = [255, 255, 255, 255] : typeof u.mean == "number" ? f = [u.mean, u.mean, u.mean, u.mean] : (f = [u.mean[0], u.mean[1], u.mean[2], 255], u.mean[3] !== void 0 && (f[3] = u.mean[3])), u === void 0 || u.bias === void 0 ? l = [0, 0, 0, 0] : typeof u.bias == "number" ? l = [u.bias, u.bias, u.bias, u.bias] : (l = [u.bias[0], u.bias[1], u.bias[2], 0], u.bias[3] !== void 0 && (l[3] = u.bias[3]));
      let c = i * r;
      if (t !== void 0 && (t.format !== void 0 && s === 4 && t.format !== "RGBA" || s === 3 && t.format !== "RGB" && t.format !== "BGR")) throw new Error("Tensor format doesn't match input tensor dims");
      let d = 4, p = 0, h = 1, b = 2, A = 3, m = 0, w = c, O = c * 2, g = -1;
      a === "RGBA" ? (m = 0, w = c, O = c * 2, g = c * 3) : a === "RGB" ? (m = 0, w = c, O = c * 2) : a === "RBG" && (m = 0, O = c, w = c * 2), o = n.createImageData(r, i);
      for (let T = 0; T < i * r; p += d, h += d, b += d, A += d, T++) o.data[p] = (e.data[m++] - l[0]) * f[0], o.data[h] = (e.data[w++] - l[1]) * f[1], o.data[b] = (e.data[O++] - l[2]) * f[2], o.data[A] = g === -1 ? 255 : (e.data[g++] - l[3]) * f[3];
    } else throw new Error("Can not access image data");
    return o;
  };
});
var Xe;
var Bt;
var Ot;
var Lt;
var Pt;
var Dt;
var _t = E(() => {
  "use strict";
  Te();
  Xe = (e, t) => {
    if (e === void 0) throw new Error("Image buffer must be defined");
    if (t.height === void 0 || t.width === void 0) throw new Error("Image height and width must be defined");
    if (t.tensorLayout === "NHWC") throw new Error("NHWC Tensor layout is not supported yet");
    let { height: n, width: o } = t, r = t.norm ?? { mean: 255, bias: 0 }, i, s;
    typeof r.mean == "number" ? i = [r.mean, r.mean, r.mean, r.mean] : i = [r.mean[0], r.mean[1], r.mean[2], r.mean[3] ?? 255], typeof r.bias == "number" ? s = [r.bias, r.bias, r.bias, r.bias] : s = [r.bias[0], r.bias[1], r.bias[2], r.bias[3] ?? 0];
    let a = t.format !== void 0 ? t.format : "RGBA", u = t.tensorFormat !== void 0 && t.tensorFormat !== void 0 ? t.tensorFormat : "RGB", f = n * o, l = u === "RGBA" ? new Float32Array(f * 4) : new Float32Array(f * 3), c = 4, d = 0, p = 1, h = 2, b = 3, A = 0, m = f, w = f * 2, O = -1;
    a === "RGB" && (c = 3, d = 0, p = 1, h = 2, b = -1), u === "RGBA" ? O = f * 3 : u === "RBG" ? (A = 0, w = f, m = f * 2) : u === "BGR" && (w = 0, m = f, A = f * 2);
    for (let T = 0; T < f; T++, d += c, h += c, p += c, b += c) l[A++] = (e[d] + s[0]) / i[0], l[m++] = (e[p] + s[1]) / i[1], l[w++] = (e[h] + s[2]) / i[2], O !== -1 && b !== -1 && (l[O++] = (e[b] + s[3]) / i[3]);
    return u === "RGBA" ? new v("float32", l, [1, 4, n, o]) : new v("float32", l, [1, 3, n, o]);
  }, Bt = async (e, t) => {
    let n = typeof HTMLImageElement < "u" && e instanceof HTMLImageElement, o = typeof ImageData < "u" && e instanceof ImageData, r = typeof ImageBitmap < "u" && e instanceof ImageBitmap, i = typeof e == "string", s, a = t ?? {}, u = () => {
      if (typeof document < "u") return document.createElement("canvas");
      if (typeof OffscreenCanvas < "u") return new OffscreenCanvas(1, 1);
      throw new Error("Canvas is not supported");
    }, f = (l) => typeof HTMLCanvasElement < "u" && l instanceof HTMLCanvasElement || l instanceof OffscreenCanvas ? l.getContext("2d") : null;
    if (n) {
      let l = u();
      l.width = e.width, l.height = e.height;
      let c = f(l);
      if (c != null) {
        let d = e.height, p = e.width;
        if (t !== void 0 && t.resizedHeight !== void 0 && t.resizedWidth !== void 0 && (d = t.resizedHeight, p = t.resizedWidth), t !== void 0) {
          if (a = t, t.tensorFormat !== void 0) throw new Error("Image input config format must be RGBA for HTMLImageElement");
          a.tensorFormat = "RGBA", a.height = d, a.width = p;
        } else a.tensorFormat = "RGBA", a.height = d, a.width = p;
        c.drawImage(e, 0, 0), s = c.getImageData(0, 0, p, d).data;
      } else throw new Error("Can not access image data");
    } else if (o) {
      let l, c;
      if (t !== void 0 && t.resizedWidth !== void 0 && t.resizedHeight !== void 0 ? (l = t.resizedHeight, c = t.resizedWidth) : (l = e.height, c = e.width), t !== void 0 && (a = t), a.format = "RGBA", a.height = l, a.width = c, t !== void 0) {
        let d = u();
        d.width = c, d.height = l;
        let p = f(d);
        if (p != null) p.putImageData(e, 0, 0), s = p.getImageData(0, 0, c, l).data;
        else throw new Error("Can not access image data");
      } else s = e.data;
    } else if (r) {
      if (t === void 0) throw new Error("Please provide image config with format for Imagebitmap");
      let l = u();
      l.width = e.width, l.height = e.height;
      let c = f(l);
      if (c != null) {
        let d = e.height, p = e.width;
        return c.drawImage(e, 0, 0, p, d), s = c.getImageData(0, 0, p, d).data, a.height = d, a.width = p, Xe(s, a);
      } else throw new Error("Can not access image data");
    } else {
      if (i) return new Promise((l, c) => {
        let d = u(), p = f(d);
        if (!e || !p) return c();
        let h = new Image();
        h.crossOrigin = "Anonymous", h.src = e, h.onload = () => {
          d.width = h.width, d.height = h.height, p.drawImage(h, 0, 0, d.width, d.height);
          let b = p.getImageData(0, 0, d.width, d.height);
          a.height = d.height, a.width = d.width, l(Xe(b.data, a));
        };
      });
      throw new Error("Input data provided is not supported - aborted tensor creation");
    }
    if (s !== void 0) return Xe(s, a);
    throw new Error("Input data provided is not supported - aborted tensor creation");
  }, Ot = (e, t) => {
    let { width: n, height: o, download: r, dispose: i } = t, s = [1, o, n, 4];
    return new v({ location: "texture", type: "float32", texture: e, dims: s, download: r, dispose: i });
  }, Lt = (e, t) => {
    let { dataType: n, dims: o, download: r, dispose: i } = t;
    return new v({ location: "gpu-buffer", type: n ?? "float32", gpuBuffer: e, dims: o, download: r, dispose: i });
  }, Pt = (e, t) => {
    let { dataType: n, dims: o, download: r, dispose: i } = t;
    return new v({ location: "ml-tensor", type: n ?? "float32", mlTensor: e, dims: o, download: r, dispose: i });
  }, Dt = (e, t, n) => new v({ location: "cpu-pinned", type: e, data: t, dims: n ?? [t.length] });
});
var Y;
var me;
var Ut;
var xt;
var vt = E(() => {
  "use strict";
  Y = /* @__PURE__ */ new Map([["float32", Float32Array], ["uint8", Uint8Array], ["int8", Int8Array], ["uint16", Uint16Array], ["int16", Int16Array], ["int32", Int32Array], ["bool", Uint8Array], ["float64", Float64Array], ["uint32", Uint32Array], ["int4", Uint8Array], ["uint4", Uint8Array]]), me = /* @__PURE__ */ new Map([[Float32Array, "float32"], [Uint8Array, "uint8"], [Int8Array, "int8"], [Uint16Array, "uint16"], [Int16Array, "int16"], [Int32Array, "int32"], [Float64Array, "float64"], [Uint32Array, "uint32"]]), Ut = false, xt = () => {
    if (!Ut) {
      Ut = true;
      let e = typeof BigInt64Array < "u" && BigInt64Array.from, t = typeof BigUint64Array < "u" && BigUint64Array.from, n = globalThis.Float16Array, o = typeof n < "u" && n.from;
      e && (Y.set("int64", BigInt64Array), me.set(BigInt64Array, "int64")), t && (Y.set("uint64", BigUint64Array), me.set(BigUint64Array, "uint64")), o ? (Y.set("float16", n), me.set(n, "float16")) : Y.set("float16", Uint16Array);
    }
  };
});
var Ct;
var Mt;
var Rt = E(() => {
  "use strict";
  Te();
  Ct = (e) => {
    let t = 1;
    for (let n = 0; n < e.length; n++) {
      let o = e[n];
      if (typeof o != "number" || !Number.isSafeInteger(o)) throw new TypeError(`dims[${n}] must be an integer, got: ${o}`);
      if (o < 0) throw new RangeError(`dims[${n}] must be a non-negative integer, got: ${o}`);
      t *= o;
    }
    return t;
  }, Mt = (e, t) => {
    switch (e.location) {
      case "cpu":
        return new v(e.type, e.data, t);
      case "cpu-pinned":
        return new v({ location: "cpu-pinned", data: e.data, type: e.type, dims: t });
      case "texture":
        return new v({ location: "texture", texture: e.texture, type: e.type, dims: t });
      case "gpu-buffer":
        return new v({ location: "gpu-buffer", gpuBuffer: e.gpuBuffer, type: e.type, dims: t });
      case "ml-tensor":
        return new v({ location: "ml-tensor", mlTensor: e.mlTensor, type: e.type, dims: t });
      default:
        throw new Error(`tensorReshape: tensor location ${e.location} is not supported`);
    }
  };
});
var v;
var Te = E(() => {
  "use strict";
  At();
  _t();
  vt();
  Rt();
  v = class {
    constructor(t, n, o) {
      xt();
      let r, i;
      if (typeof t == "object" && "location" in t) switch (this.dataLocation = t.location, r = t.type, i = t.dims, t.location) {
        case "cpu-pinned": {
          let a = Y.get(r);
          if (!a) throw new TypeError(`unsupported type "${r}" to create tensor from pinned buffer`);
          if (!(t.data instanceof a)) throw new TypeError(`buffer should be of type ${a.name}`);
          this.cpuData = t.data;
          break;
        }
        case "texture": {
          if (r !== "float32") throw new TypeError(`unsupported type "${r}" to create tensor from texture`);
          this.gpuTextureData = t.texture, this.downloader = t.download, this.disposer = t.dispose;
          break;
        }
        case "gpu-buffer": {
          if (r !== "float32" && r !== "float16" && r !== "int32" && r !== "int64" && r !== "uint32" && r !== "uint8" && r !== "bool" && r !== "uint4" && r !== "int4") throw new TypeError(`unsupported type "${r}" to create tensor from gpu buffer`);
          this.gpuBufferData = t.gpuBuffer, this.downloader = t.download, this.disposer = t.dispose;
          break;
        }
        case "ml-tensor": {
          if (r !== "float32" && r !== "float16" && r !== "int32" && r !== "int64" && r !== "uint32" && r !== "uint64" && r !== "int8" && r !== "uint8" && r !== "bool" && r !== "uint4" && r !== "int4") throw new TypeError(`unsupported type "${r}" to create tensor from MLTensor`);
          this.mlTensorData = t.mlTensor, this.downloader = t.download, this.disposer = t.dispose;
          break;
        }
        default:
          throw new Error(`Tensor constructor: unsupported location '${this.dataLocation}'`);
      }
      else {
        let a, u;
        if (typeof t == "string") if (r = t, u = o, t === "string") {
          if (!Array.isArray(n)) throw new TypeError("A string tensor's data must be a string array.");
          a = n;
        } else {
          let f = Y.get(t);
          if (f === void 0) throw new TypeError(`Unsupported tensor type: ${t}.`);
          if (Array.isArray(n)) {
            if (t === "float16" && f === Uint16Array || t === "uint4" || t === "int4") throw new TypeError(`Creating a ${t} tensor from number array is not supported. Please use ${f.name} as data.`);
            t === "uint64" || t === "int64" ? a = f.from(n, BigInt) : a = f.from(n);
          } else if (n instanceof f) a = n;
          else if (n instanceof Uint8ClampedArray) if (t === "uint8") a = Uint8Array.from(n);
          else throw new TypeError("A Uint8ClampedArray tensor's data must be type of uint8");
          else if (t === "float16" && n instanceof Uint16Array && f !== Uint16Array) a = new globalThis.Float16Array(n.buffer, n.byteOffset, n.length);
          else throw new TypeError(`A ${r} tensor's data must be type of ${f}`);
        }
        else if (u = n, Array.isArray(t)) {
          if (t.length === 0) throw new TypeError("Tensor type cannot be inferred from an empty array.");
          let f = typeof t[0];
          if (f === "string") r = "string", a = t;
          else if (f === "boolean") r = "bool", a = Uint8Array.from(t);
          else throw new TypeError(`Invalid element type of data array: ${f}.`);
        } else if (t instanceof Uint8ClampedArray) r = "uint8", a = Uint8Array.from(t);
        else {
          let f = me.get(t.constructor);
          if (f === void 0) throw new TypeError(`Unsupported type for tensor data: ${t.constructor}.`);
          r = f, a = t;
        }
        if (u === void 0) u = [a.length];
        else if (!Array.isArray(u)) throw new TypeError("A tensor's dims must be a number array");
        i = u, this.cpuData = a, this.dataLocation = "cpu";
      }
      let s = Ct(i);
      if (this.cpuData && s !== this.cpuData.length && !((r === "uint4" || r === "int4") && Math.ceil(s / 2) === this.cpuData.length)) throw new Error(`Tensor's size(${s}) does not match data length(${this.cpuData.length}).`);
      this.type = r, this.dims = i, this.size = s;
    }
    static async fromImage(t, n) {
      return Bt(t, n);
    }
    static fromTexture(t, n) {
      return Ot(t, n);
    }
    static fromGpuBuffer(t, n) {
      return Lt(t, n);
    }
    static fromMLTensor(t, n) {
      return Pt(t, n);
    }
    static fromPinnedBuffer(t, n, o) {
      return Dt(t, n, o);
    }
    toDataURL(t) {
      return Tt(this, t);
    }
    toImageData(t) {
      return It(this, t);
    }
    get data() {
      if (this.ensureValid(), !this.cpuData) throw new Error("The data is not on CPU. Use `getData()` to download GPU data to CPU, or use `texture` or `gpuBuffer` property to access the GPU data directly.");
      return this.cpuData;
    }
    get location() {
      return this.dataLocation;
    }
    get texture() {
      if (this.ensureValid(), !this.gpuTextureData) throw new Error("The data is not stored as a WebGL texture.");
      return this.gpuTextureData;
    }
    get gpuBuffer() {
      if (this.ensureValid(), !this.gpuBufferData) throw new Error("The data is not stored as a WebGPU buffer.");
      return this.gpuBufferData;
    }
    get mlTensor() {
      if (this.ensureValid(), !this.mlTensorData) throw new Error("The data is not stored as a WebNN MLTensor.");
      return this.mlTensorData;
    }
    async getData(t) {
      switch (this.ensureValid(), this.dataLocation) {
        case "cpu":
        case "cpu-pinned":
          return this.data;
        case "texture":
        case "gpu-buffer":
        case "ml-tensor": {
          if (!this.downloader) throw new Error("The current tensor is not created with a specified data downloader.");
          if (this.isDownloading) throw new Error("The current tensor is being downloaded.");
          try {
            this.isDownloading = true;
            let n = await this.downloader();
            return this.downloader = void 0, this.dataLocation = "cpu", this.cpuData = n, t && this.disposer && (this.disposer(), this.disposer = void 0), n;
          } finally {
            this.isDownloading = false;
          }
        }
        default:
          throw new Error(`cannot get data from location: ${this.dataLocation}`);
      }
    }
    dispose() {
      if (this.isDownloading) throw new Error("The current tensor is being downloaded.");
      this.disposer && (this.disposer(), this.disposer = void 0), this.cpuData = void 0, this.gpuTextureData = void 0, this.gpuBufferData = void 0, this.mlTensorData = void 0, this.downloader = void 0, this.isDownloading = void 0, this.dataLocation = "none";
    }
    ensureValid() {
      if (this.dataLocation === "none") throw new Error("The tensor is disposed.");
    }
    reshape(t) {
      if (this.ensureValid(), this.downloader || this.disposer) throw new Error("Cannot reshape a tensor that owns GPU resource.");
      return Mt(this, t);
    }
  };
});
var G;
var Ke = E(() => {
  "use strict";
  Te();
  G = v;
});
var Nt;
var Ft;
var Z;
var X;
var K;
var Q;
var Qe = E(() => {
  "use strict";
  Ze();
  Nt = (e, t) => {
    (typeof D.trace > "u" ? !D.wasm.trace : !D.trace) || console.timeStamp(`${e}::ORT::${t}`);
  }, Ft = (e, t) => {
    let n = new Error().stack?.split(/\r\n|\r|\n/g) || [], o = false;
    for (let r = 0; r < n.length; r++) {
      if (o && !n[r].includes("TRACE_FUNC")) {
        let i = `FUNC_${e}::${n[r].trim().split(" ")[1]}`;
        t && (i += `::${t}`), Nt("CPU", i);
        return;
      }
      n[r].includes("TRACE_FUNC") && (o = true);
    }
  }, Z = (e) => {
    (typeof D.trace > "u" ? !D.wasm.trace : !D.trace) || Ft("BEGIN", e);
  }, X = (e) => {
    (typeof D.trace > "u" ? !D.wasm.trace : !D.trace) || Ft("END", e);
  }, K = (e) => {
    (typeof D.trace > "u" ? !D.wasm.trace : !D.trace) || console.time(`ORT::${e}`);
  }, Q = (e) => {
    (typeof D.trace > "u" ? !D.wasm.trace : !D.trace) || console.timeEnd(`ORT::${e}`);
  };
});
var Ie;
var kt = E(() => {
  "use strict";
  Ye();
  Ke();
  Qe();
  Ie = class e {
    constructor(t) {
      this.handler = t;
    }
    async run(t, n, o) {
      Z(), K("InferenceSession.run");
      let r = {}, i = {};
      if (typeof t != "object" || t === null || t instanceof G || Array.isArray(t)) throw new TypeError("'feeds' must be an object that use input names as keys and OnnxValue as corresponding values.");
      let s = true;
      if (typeof n == "object") {
        if (n === null) throw new TypeError("Unexpected argument[1]: cannot be null.");
        if (n instanceof G) throw new TypeError("'fetches' cannot be a Tensor");
        if (Array.isArray(n)) {
          if (n.length === 0) throw new TypeError("'fetches' cannot be an empty array.");
          s = false;
          for (let f of n) {
            if (typeof f != "string") throw new TypeError("'fetches' must be a string array or an object.");
            if (this.outputNames.indexOf(f) === -1) throw new RangeError(`'fetches' contains invalid output name: ${f}.`);
            r[f] = null;
          }
          if (typeof o == "object" && o !== null) i = o;
          else if (typeof o < "u") throw new TypeError("'options' must be an object.");
        } else {
          let f = false, l = Object.getOwnPropertyNames(n);
          for (let c of this.outputNames) if (l.indexOf(c) !== -1) {
            let d = n[c];
            (d === null || d instanceof G) && (f = true, s = false, r[c] = d);
          }
          if (f) {
            if (typeof o == "object" && o !== null) i = o;
            else if (typeof o < "u") throw new TypeError("'options' must be an object.");
          } else i = n;
        }
      } else if (typeof n < "u") throw new TypeError("Unexpected argument[1]: must be 'fetches' or 'options'.");
      for (let f of this.inputNames) if (typeof t[f] > "u") throw new Error(`input '${f}' is missing in 'feeds'.`);
      if (s) for (let f of this.outputNames) r[f] = null;
      let a = await this.handler.run(t, r, i), u = {};
      for (let f in a) if (Object.hasOwnProperty.call(a, f)) {
        let l = a[f];
        l instanceof G ? u[f] = l : u[f] = new G(l.type, l.data, l.dims);
      }
      return Q("InferenceSession.run"), X(), u;
    }
    async release() {
      return this.handler.dispose();
    }
    static async create(t, n, o, r) {
      Z(), K("InferenceSession.create");
      let i, s = {};
      if (typeof t == "string") {
        if (i = t, typeof n == "object" && n !== null) s = n;
        else if (typeof n < "u") throw new TypeError("'options' must be an object.");
      } else if (t instanceof Uint8Array) {
        if (i = t, typeof n == "object" && n !== null) s = n;
        else if (typeof n < "u") throw new TypeError("'options' must be an object.");
      } else if (t instanceof ArrayBuffer || typeof SharedArrayBuffer < "u" && t instanceof SharedArrayBuffer) {
        let l = t, c = 0, d = t.byteLength;
        if (typeof n == "object" && n !== null) s = n;
        else if (typeof n == "number") {
          if (c = n, !Number.isSafeInteger(c)) throw new RangeError("'byteOffset' must be an integer.");
          if (c < 0 || c >= l.byteLength) throw new RangeError(`'byteOffset' is out of range [0, ${l.byteLength}).`);
          if (d = t.byteLength - c, typeof o == "number") {
            if (d = o, !Number.isSafeInteger(d)) throw new RangeError("'byteLength' must be an integer.");
            if (d <= 0 || c + d > l.byteLength) throw new RangeError(`'byteLength' is out of range (0, ${l.byteLength - c}].`);
            if (typeof r == "object" && r !== null) s = r;
            else if (typeof r < "u") throw new TypeError("'options' must be an object.");
          } else if (typeof o < "u") throw new TypeError("'byteLength' must be a number.");
        } else if (typeof n < "u") throw new TypeError("'options' must be an object.");
        i = new Uint8Array(l, c, d);
      } else throw new TypeError("Unexpected argument[0]: must be 'path' or 'buffer'.");
      let [a, u] = await ht(s), f = await a.createInferenceSessionHandler(i, u);
      return Q("InferenceSession.create"), X(), new e(f);
    }
    startProfiling() {
      this.handler.startProfiling();
    }
    endProfiling() {
      this.handler.endProfiling();
    }
    get inputNames() {
      return this.handler.inputNames;
    }
    get outputNames() {
      return this.handler.outputNames;
    }
    get inputMetadata() {
      return this.handler.inputMetadata;
    }
    get outputMetadata() {
      return this.handler.outputMetadata;
    }
  };
});
var Un;
var Wt = E(() => {
  "use strict";
  kt();
  Un = Ie;
});
var Gt = E(() => {
  "use strict";
});
var $t = E(() => {
  "use strict";
});
var zt = E(() => {
  "use strict";
});
var Ht = E(() => {
  "use strict";
});
var et = {};
qe(et, { InferenceSession: () => Un, TRACE: () => Nt, TRACE_EVENT_BEGIN: () => K, TRACE_EVENT_END: () => Q, TRACE_FUNC_BEGIN: () => Z, TRACE_FUNC_END: () => X, Tensor: () => G, env: () => B, registerBackend: () => pe });
var J = E(() => {
  "use strict";
  bt();
  St();
  Wt();
  Ke();
  Gt();
  $t();
  Qe();
  zt();
  Ht();
});
var Ae = E(() => {
  "use strict";
});
var qt = {};
qe(qt, { default: () => xn });
var Vt;
var Jt;
var xn;
var Yt = E(() => {
  "use strict";
  tt();
  ee();
  Be();
  Vt = "ort-wasm-proxy-worker", Jt = globalThis.self?.name === Vt;
  Jt && (self.onmessage = (e) => {
    let { type: t, in: n } = e.data;
    try {
      switch (t) {
        case "init-wasm":
          Oe(n.wasm).then(() => {
            Le(n).then(() => {
              postMessage({ type: t });
            }, (o) => {
              postMessage({ type: t, err: o });
            });
          }, (o) => {
            postMessage({ type: t, err: o });
          });
          break;
        case "init-ep": {
          let { epName: o, env: r } = n;
          Pe(r, o).then(() => {
            postMessage({ type: t });
          }, (i) => {
            postMessage({ type: t, err: i });
          });
          break;
        }
        case "copy-from": {
          let { buffer: o } = n, r = we(o);
          postMessage({ type: t, out: r });
          break;
        }
        case "create": {
          let { model: o, options: r } = n;
          De(o, r).then((i) => {
            postMessage({ type: t, out: i });
          }, (i) => {
            postMessage({ type: t, err: i });
          });
          break;
        }
        case "release":
          _e(n), postMessage({ type: t });
          break;
        case "run": {
          let { sessionId: o, inputIndices: r, inputs: i, outputIndices: s, options: a } = n;
          Ue(o, r, i, s, new Array(s.length).fill(null), a).then((u) => {
            u.some((f) => f[3] !== "cpu") ? postMessage({ type: t, err: "Proxy does not support non-cpu tensor location." }) : postMessage({ type: t, out: u }, ve([...i, ...u]));
          }, (u) => {
            postMessage({ type: t, err: u });
          });
          break;
        }
        case "end-profiling":
          xe(n), postMessage({ type: t });
          break;
        default:
      }
    } catch (o) {
      postMessage({ type: t, err: o });
    }
  });
  xn = Jt ? null : (e) => new Worker(e ?? R, { type: "module", name: Vt });
});
var Kt;
var vn;
var Cn;
var R;
var Ce;
var nt;
var Mn;
var Rn;
var Qt;
var Nn;
var Zt;
var en;
var Xt;
var tn;
var Be = E(() => {
  "use strict";
  Ae();
  Kt = typeof location > "u" ? void 0 : location.origin, vn = import.meta.url > "file:" && import.meta.url < "file;", Cn = () => {
    if (true) {
      if (vn) {
        let e = URL;
        return new URL(new e("ort.wasm.min.mjs", import.meta.url).href, Kt).href;
      }
      return import.meta.url;
    }
  }, R = Cn(), Ce = () => {
    if (R && !R.startsWith("blob:")) return R.substring(0, R.lastIndexOf("/") + 1);
  }, nt = (e, t) => {
    try {
      let n = t ?? R;
      return (n ? new URL(e, n) : new URL(e)).origin === Kt;
    } catch {
      return false;
    }
  }, Mn = (e, t) => {
    let n = t ?? R;
    try {
      return (n ? new URL(e, n) : new URL(e)).href;
    } catch {
      return;
    }
  }, Rn = (e, t) => `${t ?? "./"}${e}`, Qt = async (e) => {
    let n = await (await fetch(e, { credentials: "same-origin" })).blob();
    return URL.createObjectURL(n);
  }, Nn = async (e) => (await import(
    /*webpackIgnore:true*/
    /*@vite-ignore*/
    e
  )).default, Zt = (Yt(), wt(qt)).default, en = async () => {
    if (!R) throw new Error("Failed to load proxy worker: cannot determine the script source URL.");
    if (nt(R)) return [void 0, Zt()];
    let e = await Qt(R);
    return [e, Zt(e)];
  }, Xt = void 0, tn = async (e, t, n, o) => {
    let r = Xt && !(e || t);
    if (r) if (R) r = nt(R) || o && !n;
    else if (o && !n) r = true;
    else throw new Error("cannot determine the script source URL.");
    if (r) return [void 0, Xt];
    {
      let i = "ort-wasm-simd-threaded.mjs", s = e ?? Mn(i, t), a = n && s && !nt(s, t), u = a ? await Qt(s) : s ?? Rn(i, t);
      return [a ? u : void 0, await Nn(u)];
    }
  };
});
var rt;
var ot;
var Me;
var nn;
var Fn;
var kn;
var Wn;
var Oe;
var I;
var ee = E(() => {
  "use strict";
  Be();
  ot = false, Me = false, nn = false, Fn = () => {
    if (typeof SharedArrayBuffer > "u") return false;
    try {
      return typeof MessageChannel < "u" && new MessageChannel().port1.postMessage(new SharedArrayBuffer(1)), WebAssembly.validate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0, 26, 11]));
    } catch {
      return false;
    }
  }, kn = () => {
    try {
      return WebAssembly.validate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 30, 1, 28, 0, 65, 0, 253, 15, 253, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 253, 186, 1, 26, 11]));
    } catch {
      return false;
    }
  }, Wn = () => {
    try {
      return WebAssembly.validate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 1, 253, 15, 65, 2, 253, 15, 65, 3, 253, 15, 253, 147, 2, 11]));
    } catch {
      return false;
    }
  }, Oe = async (e) => {
    if (ot) return Promise.resolve();
    if (Me) throw new Error("multiple calls to 'initializeWebAssembly()' detected.");
    if (nn) throw new Error("previous call to 'initializeWebAssembly()' failed.");
    Me = true;
    let t = e.initTimeout, n = e.numThreads;
    if (e.simd !== false) {
      if (e.simd === "relaxed") {
        if (!Wn()) throw new Error("Relaxed WebAssembly SIMD is not supported in the current environment.");
      } else if (!kn()) throw new Error("WebAssembly SIMD is not supported in the current environment.");
    }
    let o = Fn();
    n > 1 && !o && (typeof self < "u" && !self.crossOriginIsolated && console.warn("env.wasm.numThreads is set to " + n + ", but this will not work unless you enable crossOriginIsolated mode. See https://web.dev/cross-origin-isolation-guide/ for more info."), console.warn("WebAssembly multi-threading is not supported in the current environment. Falling back to single-threading."), e.numThreads = n = 1);
    let r = e.wasmPaths, i = typeof r == "string" ? r : void 0, s = r?.mjs, a = s?.href ?? s, u = r?.wasm, f = u?.href ?? u, l = e.wasmBinary, [c, d] = await tn(a, i, n > 1, !!l || !!f), p = false, h = [];
    if (t > 0 && h.push(new Promise((b) => {
      setTimeout(() => {
        p = true, b();
      }, t);
    })), h.push(new Promise((b, A) => {
      let m = { numThreads: n };
      if (l) m.wasmBinary = l, m.locateFile = (w) => w;
      else if (f || i) m.locateFile = (w) => f ?? i + w;
      else if (a && a.indexOf("blob:") !== 0) m.locateFile = (w) => new URL(w, a).href;
      else if (c) {
        let w = Ce();
        w && (m.locateFile = (O) => w + O);
      }
      d(m).then((w) => {
        Me = false, ot = true, rt = w, b(), c && URL.revokeObjectURL(c);
      }, (w) => {
        Me = false, nn = true, A(w);
      });
    })), await Promise.race(h), p) throw new Error(`WebAssembly backend initializing failed due to timeout: ${t}ms`);
  }, I = () => {
    if (ot && rt) return rt;
    throw new Error("WebAssembly is not initialized yet.");
  };
});
var N;
var he;
var S;
var Re = E(() => {
  "use strict";
  ee();
  N = (e, t) => {
    let n = I(), o = n.lengthBytesUTF8(e) + 1, r = n._malloc(o);
    return n.stringToUTF8(e, r, o), t.push(r), r;
  }, he = (e, t, n, o) => {
    if (typeof e == "object" && e !== null) {
      if (n.has(e)) throw new Error("Circular reference in options");
      n.add(e);
    }
    Object.entries(e).forEach(([r, i]) => {
      let s = t ? t + r : r;
      if (typeof i == "object") he(i, s + ".", n, o);
      else if (typeof i == "string" || typeof i == "number") o(s, i.toString());
      else if (typeof i == "boolean") o(s, i ? "1" : "0");
      else throw new Error(`Can't handle extra config type: ${typeof i}`);
    });
  }, S = (e) => {
    let t = I(), n = t.stackSave();
    try {
      let o = t.PTR_SIZE, r = t.stackAlloc(2 * o);
      t._OrtGetLastError(r, r + o);
      let i = Number(t.getValue(r, o === 4 ? "i32" : "i64")), s = t.getValue(r + o, "*"), a = s ? t.UTF8ToString(s) : "";
      throw new Error(`${e} ERROR_CODE: ${i}, ERROR_MESSAGE: ${a}`);
    } finally {
      t.stackRestore(n);
    }
  };
});
var rn;
var on = E(() => {
  "use strict";
  ee();
  Re();
  rn = (e) => {
    let t = I(), n = 0, o = [], r = e || {};
    try {
      if (e?.logSeverityLevel === void 0) r.logSeverityLevel = 2;
      else if (typeof e.logSeverityLevel != "number" || !Number.isInteger(e.logSeverityLevel) || e.logSeverityLevel < 0 || e.logSeverityLevel > 4) throw new Error(`log severity level is not valid: ${e.logSeverityLevel}`);
      if (e?.logVerbosityLevel === void 0) r.logVerbosityLevel = 0;
      else if (typeof e.logVerbosityLevel != "number" || !Number.isInteger(e.logVerbosityLevel)) throw new Error(`log verbosity level is not valid: ${e.logVerbosityLevel}`);
      e?.terminate === void 0 && (r.terminate = false);
      let i = 0;
      return e?.tag !== void 0 && (i = N(e.tag, o)), n = t._OrtCreateRunOptions(r.logSeverityLevel, r.logVerbosityLevel, !!r.terminate, i), n === 0 && S("Can't create run options."), e?.extra !== void 0 && he(e.extra, "", /* @__PURE__ */ new WeakSet(), (s, a) => {
        let u = N(s, o), f = N(a, o);
        t._OrtAddRunConfigEntry(n, u, f) !== 0 && S(`Can't set a run config entry: ${s} - ${a}.`);
      }), [n, o];
    } catch (i) {
      throw n !== 0 && t._OrtReleaseRunOptions(n), o.forEach((s) => t._free(s)), i;
    }
  };
});
var Gn;
var $n;
var zn;
var se;
var Hn;
var sn;
var an = E(() => {
  "use strict";
  ee();
  Re();
  Gn = (e) => {
    switch (e) {
      case "disabled":
        return 0;
      case "basic":
        return 1;
      case "extended":
        return 2;
      case "layout":
        return 3;
      case "all":
        return 99;
      default:
        throw new Error(`unsupported graph optimization level: ${e}`);
    }
  }, $n = (e) => {
    switch (e) {
      case "sequential":
        return 0;
      case "parallel":
        return 1;
      default:
        throw new Error(`unsupported execution mode: ${e}`);
    }
  }, zn = (e) => {
    e.extra || (e.extra = {}), e.extra.session || (e.extra.session = {});
    let t = e.extra.session;
    t.use_ort_model_bytes_directly || (t.use_ort_model_bytes_directly = "1"), e.executionProviders && e.executionProviders.some((n) => (typeof n == "string" ? n : n.name) === "webgpu") && (e.enableMemPattern = false);
  }, se = (e, t, n, o) => {
    let r = N(t, o), i = N(n, o);
    I()._OrtAddSessionConfigEntry(e, r, i) !== 0 && S(`Can't set a session config entry: ${t} - ${n}.`);
  }, Hn = async (e, t, n) => {
    let o = t.executionProviders;
    for (let r of o) {
      let i = typeof r == "string" ? r : r.name, s = [];
      switch (i) {
        case "webnn":
          if (i = "WEBNN", se(e, "session.disable_quant_qdq", "1", n), se(e, "session.disable_qdq_constant_folding", "1", n), typeof r != "string") {
            let d = r?.deviceType;
            d && se(e, "deviceType", d, n);
          }
          break;
        case "webgpu":
          if (i = "JS", typeof r != "string") {
            let c = r;
            if (c?.preferredLayout) {
              if (c.preferredLayout !== "NCHW" && c.preferredLayout !== "NHWC") throw new Error(`preferredLayout must be either 'NCHW' or 'NHWC': ${c.preferredLayout}`);
              se(e, "preferredLayout", c.preferredLayout, n);
            }
          }
          break;
        case "wasm":
        case "cpu":
          continue;
        default:
          throw new Error(`not supported execution provider: ${i}`);
      }
      let a = N(i, n), u = s.length, f = 0, l = 0;
      if (u > 0) {
        f = I()._malloc(u * I().PTR_SIZE), n.push(f), l = I()._malloc(u * I().PTR_SIZE), n.push(l);
        for (let c = 0; c < u; c++) I().setValue(f + c * I().PTR_SIZE, s[c][0], "*"), I().setValue(l + c * I().PTR_SIZE, s[c][1], "*");
      }
      await I()._OrtAppendExecutionProvider(e, a, f, l, u) !== 0 && S(`Can't append execution provider: ${i}.`);
    }
  }, sn = async (e) => {
    let t = I(), n = 0, o = [], r = e || {};
    zn(r);
    try {
      let i = Gn(r.graphOptimizationLevel ?? "all"), s = $n(r.executionMode ?? "sequential"), a = typeof r.logId == "string" ? N(r.logId, o) : 0, u = r.logSeverityLevel ?? 2;
      if (!Number.isInteger(u) || u < 0 || u > 4) throw new Error(`log severity level is not valid: ${u}`);
      let f = r.logVerbosityLevel ?? 0;
      if (!Number.isInteger(f) || f < 0 || f > 4) throw new Error(`log verbosity level is not valid: ${f}`);
      let l = typeof r.optimizedModelFilePath == "string" ? N(r.optimizedModelFilePath, o) : 0;
      if (n = t._OrtCreateSessionOptions(i, !!r.enableCpuMemArena, !!r.enableMemPattern, s, !!r.enableProfiling, 0, a, u, f, l), n === 0 && S("Can't create session options."), r.executionProviders && await Hn(n, r, o), r.enableGraphCapture !== void 0) {
        if (typeof r.enableGraphCapture != "boolean") throw new Error(`enableGraphCapture must be a boolean value: ${r.enableGraphCapture}`);
        se(n, "enableGraphCapture", r.enableGraphCapture.toString(), o);
      }
      if (r.freeDimensionOverrides) for (let [c, d] of Object.entries(r.freeDimensionOverrides)) {
        if (typeof c != "string") throw new Error(`free dimension override name must be a string: ${c}`);
        if (typeof d != "number" || !Number.isInteger(d) || d < 0) throw new Error(`free dimension override value must be a non-negative integer: ${d}`);
        let p = N(c, o);
        t._OrtAddFreeDimensionOverride(n, p, d) !== 0 && S(`Can't set a free dimension override: ${c} - ${d}.`);
      }
      return r.extra !== void 0 && he(r.extra, "", /* @__PURE__ */ new WeakSet(), (c, d) => {
        se(n, c, d, o);
      }), [n, o];
    } catch (i) {
      throw n !== 0 && t._OrtReleaseSessionOptions(n) !== 0 && S("Can't release session options."), o.forEach((s) => t._free(s)), i;
    }
  };
});
var ie;
var Ne;
var ae;
var un;
var fn;
var Fe;
var ke;
var cn;
var st = E(() => {
  "use strict";
  ie = (e) => {
    switch (e) {
      case "int8":
        return 3;
      case "uint8":
        return 2;
      case "bool":
        return 9;
      case "int16":
        return 5;
      case "uint16":
        return 4;
      case "int32":
        return 6;
      case "uint32":
        return 12;
      case "float16":
        return 10;
      case "float32":
        return 1;
      case "float64":
        return 11;
      case "string":
        return 8;
      case "int64":
        return 7;
      case "uint64":
        return 13;
      case "int4":
        return 22;
      case "uint4":
        return 21;
      default:
        throw new Error(`unsupported data type: ${e}`);
    }
  }, Ne = (e) => {
    switch (e) {
      case 3:
        return "int8";
      case 2:
        return "uint8";
      case 9:
        return "bool";
      case 5:
        return "int16";
      case 4:
        return "uint16";
      case 6:
        return "int32";
      case 12:
        return "uint32";
      case 10:
        return "float16";
      case 1:
        return "float32";
      case 11:
        return "float64";
      case 8:
        return "string";
      case 7:
        return "int64";
      case 13:
        return "uint64";
      case 22:
        return "int4";
      case 21:
        return "uint4";
      default:
        throw new Error(`unsupported data type: ${e}`);
    }
  }, ae = (e, t) => {
    let n = [-1, 4, 1, 1, 2, 2, 4, 8, -1, 1, 2, 8, 4, 8, -1, -1, -1, -1, -1, -1, -1, 0.5, 0.5][e], o = typeof t == "number" ? t : t.reduce((r, i) => r * i, 1);
    return n > 0 ? Math.ceil(o * n) : void 0;
  }, un = (e) => {
    switch (e) {
      case "float16":
        return typeof Float16Array < "u" ? Float16Array : Uint16Array;
      case "float32":
        return Float32Array;
      case "uint8":
        return Uint8Array;
      case "int8":
        return Int8Array;
      case "uint16":
        return Uint16Array;
      case "int16":
        return Int16Array;
      case "int32":
        return Int32Array;
      case "bool":
        return Uint8Array;
      case "float64":
        return Float64Array;
      case "uint32":
        return Uint32Array;
      case "int64":
        return BigInt64Array;
      case "uint64":
        return BigUint64Array;
      default:
        throw new Error(`unsupported type: ${e}`);
    }
  }, fn = (e) => {
    switch (e) {
      case "verbose":
        return 0;
      case "info":
        return 1;
      case "warning":
        return 2;
      case "error":
        return 3;
      case "fatal":
        return 4;
      default:
        throw new Error(`unsupported logging level: ${e}`);
    }
  }, Fe = (e) => e === "float32" || e === "float16" || e === "int32" || e === "int64" || e === "uint32" || e === "uint8" || e === "bool" || e === "uint4" || e === "int4", ke = (e) => e === "float32" || e === "float16" || e === "int32" || e === "int64" || e === "uint32" || e === "uint64" || e === "int8" || e === "uint8" || e === "bool" || e === "uint4" || e === "int4", cn = (e) => {
    switch (e) {
      case "none":
        return 0;
      case "cpu":
        return 1;
      case "cpu-pinned":
        return 2;
      case "texture":
        return 3;
      case "gpu-buffer":
        return 4;
      case "ml-tensor":
        return 5;
      default:
        throw new Error(`unsupported data location: ${e}`);
    }
  };
});
var be;
var it = E(() => {
  "use strict";
  Ae();
  be = async (e) => {
    if (typeof e == "string") if (false) try {
      let { readFile: t } = Je("node:fs/promises");
      return new Uint8Array(await t(e));
    } catch (t) {
      if (t.code === "ERR_FS_FILE_TOO_LARGE") {
        let { createReadStream: n } = Je("node:fs"), o = n(e), r = [];
        for await (let i of o) r.push(i);
        return new Uint8Array(Buffer.concat(r));
      }
      throw t;
    }
    else {
      let t = await fetch(e);
      if (!t.ok) throw new Error(`failed to load external data file: ${e}`);
      let n = t.headers.get("Content-Length"), o = n ? parseInt(n, 10) : 0;
      if (o < 1073741824) return new Uint8Array(await t.arrayBuffer());
      {
        if (!t.body) throw new Error(`failed to load external data file: ${e}, no response body.`);
        let r = t.body.getReader(), i;
        try {
          i = new ArrayBuffer(o);
        } catch (a) {
          if (a instanceof RangeError) {
            let u = Math.ceil(o / 65536);
            i = new WebAssembly.Memory({ initial: u, maximum: u }).buffer;
          } else throw a;
        }
        let s = 0;
        for (; ; ) {
          let { done: a, value: u } = await r.read();
          if (a) break;
          let f = u.byteLength;
          new Uint8Array(i, s, f).set(u), s += f;
        }
        return new Uint8Array(i, 0, o);
      }
    }
    else return e instanceof Blob ? new Uint8Array(await e.arrayBuffer()) : e instanceof Uint8Array ? e : new Uint8Array(e);
  };
});
var jn;
var Le;
var Pe;
var ue;
var Vn;
var dn;
var we;
var De;
var _e;
var ln;
var Ue;
var xe;
var ve;
var tt = E(() => {
  "use strict";
  J();
  on();
  an();
  st();
  ee();
  Re();
  it();
  jn = (e, t) => {
    I()._OrtInit(e, t) !== 0 && S("Can't initialize onnxruntime.");
  }, Le = async (e) => {
    jn(e.wasm.numThreads, fn(e.logLevel));
  }, Pe = async (e, t) => {
    I().asyncInit?.();
    let n = e.webgpu.adapter;
    if (t === "webgpu") {
      if (typeof navigator > "u" || !navigator.gpu) throw new Error("WebGPU is not supported in current environment");
      if (n) {
        if (typeof n.limits != "object" || typeof n.features != "object" || typeof n.requestDevice != "function") throw new Error("Invalid GPU adapter set in `env.webgpu.adapter`. It must be a GPUAdapter object.");
      } else {
        let o = e.webgpu.powerPreference;
        if (o !== void 0 && o !== "low-power" && o !== "high-performance") throw new Error(`Invalid powerPreference setting: "${o}"`);
        let r = e.webgpu.forceFallbackAdapter;
        if (r !== void 0 && typeof r != "boolean") throw new Error(`Invalid forceFallbackAdapter setting: "${r}"`);
        if (n = await navigator.gpu.requestAdapter({ powerPreference: o, forceFallbackAdapter: r }), !n) throw new Error('Failed to get GPU adapter. You may need to enable flag "--enable-unsafe-webgpu" if you are using Chrome.');
      }
    }
    if (t === "webnn" && (typeof navigator > "u" || !navigator.ml)) throw new Error("WebNN is not supported in current environment");
  }, ue = /* @__PURE__ */ new Map(), Vn = (e) => {
    let t = I(), n = t.stackSave();
    try {
      let o = t.PTR_SIZE, r = t.stackAlloc(2 * o);
      t._OrtGetInputOutputCount(e, r, r + o) !== 0 && S("Can't get session input/output count.");
      let s = o === 4 ? "i32" : "i64";
      return [Number(t.getValue(r, s)), Number(t.getValue(r + o, s))];
    } finally {
      t.stackRestore(n);
    }
  }, dn = (e, t) => {
    let n = I(), o = n.stackSave(), r = 0;
    try {
      let i = n.PTR_SIZE, s = n.stackAlloc(2 * i);
      n._OrtGetInputOutputMetadata(e, t, s, s + i) !== 0 && S("Can't get session input/output metadata.");
      let u = Number(n.getValue(s, "*"));
      r = Number(n.getValue(s + i, "*"));
      let f = n.HEAP32[r / 4];
      if (f === 0) return [u, 0];
      let l = n.HEAPU32[r / 4 + 1], c = [];
      for (let d = 0; d < l; d++) {
        let p = Number(n.getValue(r + 8 + d * i, "*"));
        c.push(p !== 0 ? n.UTF8ToString(p) : Number(n.getValue(r + 8 + (d + l) * i, "*")));
      }
      return [u, f, c];
    } finally {
      n.stackRestore(o), r !== 0 && n._OrtFree(r);
    }
  }, we = (e) => {
    let t = I(), n = t._malloc(e.byteLength);
    if (n === 0) throw new Error(`Can't create a session. failed to allocate a buffer of size ${e.byteLength}.`);
    return t.HEAPU8.set(e, n), [n, e.byteLength];
  }, De = async (e, t) => {
    let n, o, r = I();
    Array.isArray(e) ? [n, o] = e : e.buffer === r.HEAPU8.buffer ? [n, o] = [e.byteOffset, e.byteLength] : [n, o] = we(e);
    let i = 0, s = 0, a = 0, u = [], f = [], l = [];
    try {
      if ([s, u] = await sn(t), t?.externalData && r.mountExternalData) {
        let g = [];
        for (let T of t.externalData) {
          let x = typeof T == "string" ? T : T.path, M = typeof T == "string" ? T : T.data;
          g.push(be(M).then((_) => {
            r.mountExternalData(x, _);
          }));
        }
        await Promise.all(g);
      }
      for (let g of t?.executionProviders ?? []) if ((typeof g == "string" ? g : g.name) === "webnn") {
        if (r.shouldTransferToMLTensor = false, typeof g != "string") {
          let x = g, M = x?.context, _ = x?.gpuDevice, de = x?.deviceType, re = x?.powerPreference;
          M ? r.currentContext = M : _ ? r.currentContext = await r.webnnCreateMLContext(_) : r.currentContext = await r.webnnCreateMLContext({ deviceType: de, powerPreference: re });
        } else r.currentContext = await r.webnnCreateMLContext();
        break;
      }
      i = await r._OrtCreateSession(n, o, s), r.webgpuOnCreateSession?.(i), i === 0 && S("Can't create a session."), r.jsepOnCreateSession?.(), r.currentContext && (r.webnnRegisterMLContext(i, r.currentContext), r.currentContext = void 0, r.shouldTransferToMLTensor = true);
      let [c, d] = Vn(i), p = !!t?.enableGraphCapture, h = [], b = [], A = [], m = [], w = [];
      for (let g = 0; g < c; g++) {
        let [T, x, M] = dn(i, g);
        T === 0 && S("Can't get an input name."), f.push(T);
        let _ = r.UTF8ToString(T);
        h.push(_), A.push(x === 0 ? { name: _, isTensor: false } : { name: _, isTensor: true, type: Ne(x), shape: M });
      }
      for (let g = 0; g < d; g++) {
        let [T, x, M] = dn(i, g + c);
        T === 0 && S("Can't get an output name."), l.push(T);
        let _ = r.UTF8ToString(T);
        b.push(_), m.push(x === 0 ? { name: _, isTensor: false } : { name: _, isTensor: true, type: Ne(x), shape: M });
      }
      return ue.set(i, [i, f, l, null, p, false]), [i, h, b, A, m];
    } catch (c) {
      throw f.forEach((d) => r._OrtFree(d)), l.forEach((d) => r._OrtFree(d)), a !== 0 && r._OrtReleaseBinding(a) !== 0 && S("Can't release IO binding."), i !== 0 && r._OrtReleaseSession(i) !== 0 && S("Can't release session."), c;
    } finally {
      r._free(n), s !== 0 && r._OrtReleaseSessionOptions(s) !== 0 && S("Can't release session options."), u.forEach((c) => r._free(c)), r.unmountExternalData?.();
    }
  }, _e = (e) => {
    let t = I(), n = ue.get(e);
    if (!n) throw new Error(`cannot release session. invalid session id: ${e}`);
    let [o, r, i, s, a] = n;
    s && (a && t._OrtClearBoundOutputs(s.handle) !== 0 && S("Can't clear bound outputs."), t._OrtReleaseBinding(s.handle) !== 0 && S("Can't release IO binding.")), t.jsepOnReleaseSession?.(e), t.webnnOnReleaseSession?.(e), t.webgpuOnReleaseSession?.(e), r.forEach((u) => t._OrtFree(u)), i.forEach((u) => t._OrtFree(u)), t._OrtReleaseSession(o) !== 0 && S("Can't release session."), ue.delete(e);
  }, ln = async (e, t, n, o, r, i, s = false) => {
    if (!e) {
      t.push(0);
      return;
    }
    let a = I(), u = a.PTR_SIZE, f = e[0], l = e[1], c = e[3], d = c, p, h;
    if (f === "string" && (c === "gpu-buffer" || c === "ml-tensor")) throw new Error("String tensor is not supported on GPU.");
    if (s && c !== "gpu-buffer") throw new Error(`External buffer must be provided for input/output index ${i} when enableGraphCapture is true.`);
    if (c === "gpu-buffer") {
      let m = e[2].gpuBuffer;
      h = ae(ie(f), l);
      {
        let w = a.jsepRegisterBuffer;
        if (!w) throw new Error('Tensor location "gpu-buffer" is not supported without using WebGPU.');
        p = w(o, i, m, h);
      }
    } else if (c === "ml-tensor") {
      let m = e[2].mlTensor;
      h = ae(ie(f), l);
      let w = a.webnnRegisterMLTensor;
      if (!w) throw new Error('Tensor location "ml-tensor" is not supported without using WebNN.');
      p = w(o, m, ie(f), l);
    } else {
      let m = e[2];
      if (Array.isArray(m)) {
        h = u * m.length, p = a._malloc(h), n.push(p);
        for (let w = 0; w < m.length; w++) {
          if (typeof m[w] != "string") throw new TypeError(`tensor data at index ${w} is not a string`);
          a.setValue(p + w * u, N(m[w], n), "*");
        }
      } else {
        let w = a.webnnIsGraphInput, O = a.webnnIsGraphOutput;
        if (f !== "string" && w && O) {
          let g = a.UTF8ToString(r);
          if (w(o, g) || O(o, g)) {
            let T = ie(f);
            h = ae(T, l), d = "ml-tensor";
            let x = a.webnnCreateTemporaryTensor, M = a.webnnUploadTensor;
            if (!x || !M) throw new Error('Tensor location "ml-tensor" is not supported without using WebNN.');
            let _ = await x(o, T, l);
            M(_, new Uint8Array(m.buffer, m.byteOffset, m.byteLength)), p = _;
          } else h = m.byteLength, p = a._malloc(h), n.push(p), a.HEAPU8.set(new Uint8Array(m.buffer, m.byteOffset, h), p);
        } else h = m.byteLength, p = a._malloc(h), n.push(p), a.HEAPU8.set(new Uint8Array(m.buffer, m.byteOffset, h), p);
      }
    }
    let b = a.stackSave(), A = a.stackAlloc(4 * l.length);
    try {
      l.forEach((w, O) => a.setValue(A + O * u, w, u === 4 ? "i32" : "i64"));
      let m = a._OrtCreateTensor(ie(f), p, h, A, l.length, cn(d));
      m === 0 && S(`Can't create tensor for input/output. session=${o}, index=${i}.`), t.push(m);
    } finally {
      a.stackRestore(b);
    }
  }, Ue = async (e, t, n, o, r, i) => {
    let s = I(), a = s.PTR_SIZE, u = ue.get(e);
    if (!u) throw new Error(`cannot run inference. invalid session id: ${e}`);
    let f = u[0], l = u[1], c = u[2], d = u[3], p = u[4], h = u[5], b = t.length, A = o.length, m = 0, w = [], O = [], g = [], T = [], x = [], M = s.stackSave(), _ = s.stackAlloc(b * a), de = s.stackAlloc(b * a), re = s.stackAlloc(A * a), ct = s.stackAlloc(A * a);
    try {
      [m, w] = rn(i), K("wasm prepareInputOutputTensor");
      for (let y = 0; y < b; y++) await ln(n[y], O, T, e, l[t[y]], t[y], p);
      for (let y = 0; y < A; y++) await ln(r[y], g, T, e, c[o[y]], b + o[y], p);
      Q("wasm prepareInputOutputTensor");
      for (let y = 0; y < b; y++) s.setValue(_ + y * a, O[y], "*"), s.setValue(de + y * a, l[t[y]], "*");
      for (let y = 0; y < A; y++) s.setValue(re + y * a, g[y], "*"), s.setValue(ct + y * a, c[o[y]], "*");
      s.jsepOnRunStart?.(f), s.webnnOnRunStart?.(f);
      let F;
      F = await s._OrtRun(f, de, _, b, ct, A, re, m), F !== 0 && S("failed to call OrtRun().");
      let z = [], dt = [];
      K("wasm ProcessOutputTensor");
      for (let y = 0; y < A; y++) {
        let W = Number(s.getValue(re + y * a, "*"));
        if (W === g[y] || x.includes(g[y])) {
          z.push(r[y]), W !== g[y] && s._OrtReleaseTensor(W) !== 0 && S("Can't release tensor.");
          continue;
        }
        let lt = s.stackSave(), $ = s.stackAlloc(4 * a), oe = false, P, C = 0;
        try {
          s._OrtGetTensorData(W, $, $ + a, $ + 2 * a, $ + 3 * a) !== 0 && S(`Can't access output tensor data on index ${y}.`);
          let je = a === 4 ? "i32" : "i64", ge = Number(s.getValue($, je));
          C = s.getValue($ + a, "*");
          let pt = s.getValue($ + a * 2, "*"), Bn = Number(s.getValue($ + a * 3, je)), H = [];
          for (let U = 0; U < Bn; U++) H.push(Number(s.getValue(pt + U * a, je)));
          s._OrtFree(pt) !== 0 && S("Can't free memory for tensor dims.");
          let j = H.reduce((U, L) => U * L, 1);
          P = Ne(ge);
          let le = d?.outputPreferredLocations[o[y]];
          if (P === "string") {
            if (le === "gpu-buffer" || le === "ml-tensor") throw new Error("String tensor is not supported on GPU.");
            let U = [];
            for (let L = 0; L < j; L++) {
              let V = s.getValue(C + L * a, "*"), Ee = s.getValue(C + (L + 1) * a, "*"), mt = L === j - 1 ? void 0 : Ee - V;
              U.push(s.UTF8ToString(V, mt));
            }
            z.push([P, H, U, "cpu"]);
          } else if (le === "gpu-buffer" && j > 0) {
            let U = s.jsepGetBuffer;
            if (!U) throw new Error('preferredLocation "gpu-buffer" is not supported without using WebGPU.');
            let L = U(C), V = ae(ge, j);
            if (V === void 0 || !Fe(P)) throw new Error(`Unsupported data type: ${P}`);
            oe = true, z.push([P, H, { gpuBuffer: L, download: s.jsepCreateDownloader(L, V, P), dispose: () => {
              s._OrtReleaseTensor(W) !== 0 && S("Can't release tensor.");
            } }, "gpu-buffer"]);
          } else if (le === "ml-tensor" && j > 0) {
            let U = s.webnnEnsureTensor, L = s.webnnIsGraphInputOutputTypeSupported;
            if (!U || !L) throw new Error('preferredLocation "ml-tensor" is not supported without using WebNN.');
            if (ae(ge, j) === void 0 || !ke(P)) throw new Error(`Unsupported data type: ${P}`);
            if (!L(e, P, false)) throw new Error(`preferredLocation "ml-tensor" for ${P} output is not supported by current WebNN Context.`);
            let Ee = await U(e, C, ge, H, false);
            oe = true, z.push([P, H, { mlTensor: Ee, download: s.webnnCreateMLTensorDownloader(C, P), dispose: () => {
              s.webnnReleaseTensorId(C), s._OrtReleaseTensor(W);
            } }, "ml-tensor"]);
          } else if (le === "ml-tensor-cpu-output" && j > 0) {
            let U = s.webnnCreateMLTensorDownloader(C, P)(), L = z.length;
            oe = true, dt.push((async () => {
              let V = [L, await U];
              return s.webnnReleaseTensorId(C), s._OrtReleaseTensor(W), V;
            })()), z.push([P, H, [], "cpu"]);
          } else {
            let U = un(P), L = new U(j);
            new Uint8Array(L.buffer, L.byteOffset, L.byteLength).set(s.HEAPU8.subarray(C, C + L.byteLength)), z.push([P, H, L, "cpu"]);
          }
        } finally {
          s.stackRestore(lt), P === "string" && C && s._free(C), oe || s._OrtReleaseTensor(W);
        }
      }
      d && !p && (s._OrtClearBoundOutputs(d.handle) !== 0 && S("Can't clear bound outputs."), ue.set(e, [f, l, c, d, p, false]));
      for (let [y, W] of await Promise.all(dt)) z[y][2] = W;
      return Q("wasm ProcessOutputTensor"), z;
    } finally {
      s.webnnOnRunEnd?.(f), s.stackRestore(M), O.forEach((F) => s._OrtReleaseTensor(F)), g.forEach((F) => s._OrtReleaseTensor(F)), T.forEach((F) => s._free(F)), m !== 0 && s._OrtReleaseRunOptions(m), w.forEach((F) => s._free(F));
    }
  }, xe = (e) => {
    let t = I(), n = ue.get(e);
    if (!n) throw new Error("invalid session id");
    let o = n[0], r = t._OrtEndProfiling(o);
    r === 0 && S("Can't get an profile file name."), t._OrtFree(r);
  }, ve = (e) => {
    let t = [];
    for (let n of e) {
      let o = n[2];
      !Array.isArray(o) && "buffer" in o && t.push(o.buffer);
    }
    return t;
  };
});
var ne;
var k;
var ye;
var Ge;
var $e;
var We;
var at;
var ut;
var fe;
var ce;
var qn;
var pn;
var mn;
var wn;
var hn;
var bn;
var yn;
var gn;
var ft = E(() => {
  "use strict";
  J();
  tt();
  ee();
  Be();
  ne = () => !!B.wasm.proxy && typeof document < "u", ye = false, Ge = false, $e = false, ut = /* @__PURE__ */ new Map(), fe = (e, t) => {
    let n = ut.get(e);
    n ? n.push(t) : ut.set(e, [t]);
  }, ce = () => {
    if (ye || !Ge || $e || !k) throw new Error("worker not ready");
  }, qn = (e) => {
    switch (e.data.type) {
      case "init-wasm":
        ye = false, e.data.err ? ($e = true, at[1](e.data.err)) : (Ge = true, at[0]()), We && (URL.revokeObjectURL(We), We = void 0);
        break;
      case "init-ep":
      case "copy-from":
      case "create":
      case "release":
      case "run":
      case "end-profiling": {
        let t = ut.get(e.data.type);
        e.data.err ? t.shift()[1](e.data.err) : t.shift()[0](e.data.out);
        break;
      }
      default:
    }
  }, pn = async () => {
    if (!Ge) {
      if (ye) throw new Error("multiple calls to 'initWasm()' detected.");
      if ($e) throw new Error("previous call to 'initWasm()' failed.");
      if (ye = true, ne()) return new Promise((e, t) => {
        k?.terminate(), en().then(([n, o]) => {
          try {
            k = o, k.onerror = (i) => t(i), k.onmessage = qn, at = [e, t];
            let r = { type: "init-wasm", in: B };
            if (!r.in.wasm.wasmPaths && n) {
              let i = Ce();
              i && (r.in.wasm.wasmPaths = i);
            }
            k.postMessage(r), We = n;
          } catch (r) {
            t(r);
          }
        }, t);
      });
      try {
        await Oe(B.wasm), await Le(B), Ge = true;
      } catch (e) {
        throw $e = true, e;
      } finally {
        ye = false;
      }
    }
  }, mn = async (e) => {
    if (ne()) return ce(), new Promise((t, n) => {
      fe("init-ep", [t, n]);
      let o = { type: "init-ep", in: { epName: e, env: B } };
      k.postMessage(o);
    });
    await Pe(B, e);
  }, wn = async (e) => ne() ? (ce(), new Promise((t, n) => {
    fe("copy-from", [t, n]);
    let o = { type: "copy-from", in: { buffer: e } };
    k.postMessage(o, [e.buffer]);
  })) : we(e), hn = async (e, t) => {
    if (ne()) {
      if (t?.preferredOutputLocation) throw new Error('session option "preferredOutputLocation" is not supported for proxy.');
      return ce(), new Promise((n, o) => {
        fe("create", [n, o]);
        let r = { type: "create", in: { model: e, options: { ...t } } }, i = [];
        e instanceof Uint8Array && i.push(e.buffer), k.postMessage(r, i);
      });
    } else return De(e, t);
  }, bn = async (e) => {
    if (ne()) return ce(), new Promise((t, n) => {
      fe("release", [t, n]);
      let o = { type: "release", in: e };
      k.postMessage(o);
    });
    _e(e);
  }, yn = async (e, t, n, o, r, i) => {
    if (ne()) {
      if (n.some((s) => s[3] !== "cpu")) throw new Error("input tensor on GPU is not supported for proxy.");
      if (r.some((s) => s)) throw new Error("pre-allocated output tensor is not supported for proxy.");
      return ce(), new Promise((s, a) => {
        fe("run", [s, a]);
        let u = n, f = { type: "run", in: { sessionId: e, inputIndices: t, inputs: u, outputIndices: o, options: i } };
        k.postMessage(f, ve(u));
      });
    } else return Ue(e, t, n, o, r, i);
  }, gn = async (e) => {
    if (ne()) return ce(), new Promise((t, n) => {
      fe("end-profiling", [t, n]);
      let o = { type: "end-profiling", in: e };
      k.postMessage(o);
    });
    xe(e);
  };
});
var En;
var Yn;
var ze;
var Sn = E(() => {
  "use strict";
  J();
  ft();
  st();
  Ae();
  it();
  En = (e, t) => {
    switch (e.location) {
      case "cpu":
        return [e.type, e.dims, e.data, "cpu"];
      case "gpu-buffer":
        return [e.type, e.dims, { gpuBuffer: e.gpuBuffer }, "gpu-buffer"];
      case "ml-tensor":
        return [e.type, e.dims, { mlTensor: e.mlTensor }, "ml-tensor"];
      default:
        throw new Error(`invalid data location: ${e.location} for ${t()}`);
    }
  }, Yn = (e) => {
    switch (e[3]) {
      case "cpu":
        return new G(e[0], e[2], e[1]);
      case "gpu-buffer": {
        let t = e[0];
        if (!Fe(t)) throw new Error(`not supported data type: ${t} for deserializing GPU tensor`);
        let { gpuBuffer: n, download: o, dispose: r } = e[2];
        return G.fromGpuBuffer(n, { dataType: t, dims: e[1], download: o, dispose: r });
      }
      case "ml-tensor": {
        let t = e[0];
        if (!ke(t)) throw new Error(`not supported data type: ${t} for deserializing MLTensor tensor`);
        let { mlTensor: n, download: o, dispose: r } = e[2];
        return G.fromMLTensor(n, { dataType: t, dims: e[1], download: o, dispose: r });
      }
      default:
        throw new Error(`invalid data location: ${e[3]}`);
    }
  }, ze = class {
    async fetchModelAndCopyToWasmMemory(t) {
      return wn(await be(t));
    }
    async loadModel(t, n) {
      Z();
      let o;
      typeof t == "string" ? o = await this.fetchModelAndCopyToWasmMemory(t) : o = t, [this.sessionId, this.inputNames, this.outputNames, this.inputMetadata, this.outputMetadata] = await hn(o, n), X();
    }
    async dispose() {
      return bn(this.sessionId);
    }
    async run(t, n, o) {
      Z();
      let r = [], i = [];
      Object.entries(t).forEach((d) => {
        let p = d[0], h = d[1], b = this.inputNames.indexOf(p);
        if (b === -1) throw new Error(`invalid input '${p}'`);
        r.push(h), i.push(b);
      });
      let s = [], a = [];
      Object.entries(n).forEach((d) => {
        let p = d[0], h = d[1], b = this.outputNames.indexOf(p);
        if (b === -1) throw new Error(`invalid output '${p}'`);
        s.push(h), a.push(b);
      });
      let u = r.map((d, p) => En(d, () => `input "${this.inputNames[i[p]]}"`)), f = s.map((d, p) => d ? En(d, () => `output "${this.outputNames[a[p]]}"`) : null), l = await yn(this.sessionId, i, u, a, f, o), c = {};
      for (let d = 0; d < l.length; d++) c[this.outputNames[a[d]]] = s[d] ?? Yn(l[d]);
      return X(), c;
    }
    startProfiling() {
    }
    endProfiling() {
      gn(this.sessionId);
    }
  };
});
var In = {};
qe(In, { OnnxruntimeWebAssemblyBackend: () => He, initializeFlags: () => Tn, wasmBackend: () => Zn });
var Tn;
var He;
var Zn;
var An = E(() => {
  "use strict";
  J();
  ft();
  Sn();
  Tn = () => {
    (typeof B.wasm.initTimeout != "number" || B.wasm.initTimeout < 0) && (B.wasm.initTimeout = 0);
    let e = B.wasm.simd;
    if (typeof e != "boolean" && e !== void 0 && e !== "fixed" && e !== "relaxed" && (console.warn(`Property "env.wasm.simd" is set to unknown value "${e}". Reset it to \`false\` and ignore SIMD feature checking.`), B.wasm.simd = false), typeof B.wasm.proxy != "boolean" && (B.wasm.proxy = false), typeof B.wasm.trace != "boolean" && (B.wasm.trace = false), typeof B.wasm.numThreads != "number" || !Number.isInteger(B.wasm.numThreads) || B.wasm.numThreads <= 0) if (typeof self < "u" && !self.crossOriginIsolated) B.wasm.numThreads = 1;
    else {
      let t = typeof navigator > "u" ? Je("node:os").cpus().length : navigator.hardwareConcurrency;
      B.wasm.numThreads = Math.min(4, Math.ceil((t || 1) / 2));
    }
  }, He = class {
    async init(t) {
      Tn(), await pn(), await mn(t);
    }
    async createInferenceSessionHandler(t, n) {
      let o = new ze();
      return await o.loadModel(t, n), o;
    }
  }, Zn = new He();
});
J();
J();
J();
var jt = "1.30.0";
{
  let e = (An(), wt(In)).wasmBackend;
  pe("cpu", e, 10), pe("wasm", e, 10);
}
Object.defineProperty(B.versions, "web", { value: jt, enumerable: true });

// src/lungs.ts
var CELL = 4;
var LUNGS = 2;
function keepLungs(grid, threshold) {
  const columns = grid.width / CELL;
  const rows = grid.height / CELL;
  const share = new Float64Array(columns * rows);
  for (let row = 0; row < grid.height; row++) {
    for (let column = 0; column < grid.width; column++) {
      if (grid.data[row * grid.width + column] < threshold) continue;
      const cell = Math.floor(row / CELL) * columns + Math.floor(column / CELL);
      share[cell] = share[cell] + 1;
    }
  }
  const component = components(share, columns, rows);
  const areas = /* @__PURE__ */ new Map();
  component.forEach((number2, cell) => {
    if (number2) areas.set(number2, (areas.get(number2) ?? 0) + share[cell]);
  });
  const largest = [...areas].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, LUNGS);
  const kept = new Set(largest.map(([number2]) => number2));
  const data = grid.data.map((probability, index) => {
    const row = Math.floor(index / grid.width);
    const cell = Math.floor(row / CELL) * columns + Math.floor(index % grid.width / CELL);
    return component[cell] && !kept.has(component[cell]) ? 0 : probability;
  });
  return { ...grid, data };
}
function components(share, columns, rows) {
  const numbers2 = new Int32Array(share.length);
  for (let start = share.length - 1; start >= 0; start--) {
    if (!share[start] || numbers2[start]) continue;
    const stack = [start];
    numbers2[start] = start + 1;
    while (stack.length) {
      const cell = stack.pop();
      const [x, y] = [cell % columns, Math.floor(cell / columns)];
      for (let row = Math.max(0, y - 1); row <= Math.min(rows - 1, y + 1); row++) {
        for (let column = Math.max(0, x - 1); column <= Math.min(columns - 1, x + 1); column++) {
          const near = row * columns + column;
          if (!share[near] || numbers2[near]) continue;
          numbers2[near] = start + 1;
          stack.push(near);
        }
      }
    }
  }
  return numbers2;
}

// src/engine.ts
var MOST_THREADS = 8;
var Engine = class _Engine {
  constructor(classifier, lungs, threshold) {
    this.classifier = classifier;
    this.lungs = lungs;
    this.threshold = threshold;
  }
  classifier;
  lungs;
  threshold;
  /**
   * Starts the runtime and loads the graphs.
   *
   * @param ask The graphs; `runtime`, where its WebAssembly is, an absolute URL that ends with a slash;
   *   `threshold`, from which probability on a pixel is lung, where the classifier takes the lung mask.
   */
  static async load({ runtime, classifier, lungs, threshold }) {
    const threads = self.crossOriginIsolated ? navigator.hardwareConcurrency || 1 : 1;
    B.wasm.numThreads = Math.min(MOST_THREADS, threads);
    B.wasm.wasmPaths = {
      mjs: `${runtime}ort-wasm-simd-threaded.mjs`,
      wasm: `${runtime}ort-wasm-simd-threaded.wasm`
    };
    B.logLevel = "error";
    const options = {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "all"
    };
    const session = async (graph) => Un.create(new Uint8Array(await graph.arrayBuffer()), options);
    const first = await session(classifier);
    return new _Engine(first, lungs && await session(lungs), threshold);
  }
  async run(image) {
    const grey = new G("uint8", image.data, [image.height, image.width]);
    const found = this.lungs ? await this.lungs.run({ grey }) : void 0;
    const lungs = found && grids(found, "probabilities")[0];
    const mask = lungs && this.threshold !== void 0 && { lung_mask: maskTensor(lungs, this.threshold) };
    const answer2 = await this.classifier.run({ grey, ...mask });
    return {
      probabilities: numbers(answer2, "probabilities"),
      inSet: flags(answer2, "in_set"),
      warnings: flags(answer2, "warnings"),
      oodScore: numbers(answer2, "ood_score")[0] ?? NaN,
      cams: grids(answer2, "cams"),
      box: boxOf(answer2),
      lungs
    };
  }
};
function maskTensor(lungs, threshold) {
  const { data, width, height } = keepLungs(lungs, threshold);
  return new G("uint8", Uint8Array.from(data, (value) => value >= threshold ? 255 : 0), [height, width]);
}
function boxOf(found) {
  if (!("box" in found)) return void 0;
  const [top, left, bottom, right] = numbers(found, "box");
  return { top, left, bottom, right };
}
function output(found, name) {
  const value = found[name];
  if (!value) throw new Error(`The model has no output ${name}.`);
  return value;
}
function numbers(found, name) {
  return Float32Array.from(output(found, name).data);
}
function flags(found, name) {
  return Array.from(output(found, name).data, Boolean);
}
function grids(found, name) {
  const { dims } = output(found, name);
  const data = numbers(found, name);
  const [height, width] = dims.slice(-2);
  const n = data.length / (width * height) || 0;
  return Array.from({ length: n }, (_, index) => ({
    width,
    height,
    data: data.slice(index * width * height, (index + 1) * width * height)
  }));
}

// src/worker.ts
var engine;
self.addEventListener("message", (event) => {
  void handle(event.data);
});
async function handle(request) {
  const { id } = request;
  try {
    const value = await answer(request);
    send({ id, value });
  } catch (error) {
    const known = error instanceof ImageFileError;
    send({ id, known, error: error instanceof Error ? error.message : String(error) });
  }
}
async function answer(request) {
  switch (request.kind) {
    case "decode":
      return decodeFile(request.file);
    case "load":
      engine = await Engine.load(request);
      return void 0;
    case "run":
      if (!engine) throw new Error("The model is not loaded.");
      return engine.run(request.image);
  }
}
function send(reply) {
  const data = reply.value?.data;
  const transfer = data instanceof Uint8Array ? [data.buffer] : [];
  self.postMessage(reply, transfer);
}
